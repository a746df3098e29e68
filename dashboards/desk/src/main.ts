import { mount } from "svelte";

import App from "./App.svelte";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/top-bar.css";
import "./styles/alarms.css";
import "./styles/notices.css";
import "./styles/units.css";
import "./styles/links.css";
import "./styles/airtime.css";
import "./styles/map.css";
import "./styles/card.css";
import "./styles/dialog.css";
import "./styles/sign-in.css";
import "./styles/wall.css";

const target = document.getElementById("page");
if (!target) throw new Error("index.html has no #page");
mount(App, { target });
