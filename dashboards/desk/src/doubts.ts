/**
 * Why an alarm or a place is not vouched for, in words for the desk. The gateway and its drivers name
 * the doubt in English or by a short code; one that is not in this list is shown as it came.
 */

import { language, type Lang } from "./lang.svelte";

const DOUBTS: Record<string, Record<Lang, string>> = {
  implausible_place: { zh: "位置不可信，不予采用", en: "impossible place, not used" },
  implausible_speed: { zh: "速度不可信，不予采用", en: "impossible speed, not used" },
  implausible_time: { zh: "设备时钟不可信", en: "the device's clock is wrong" },
  text_cleaned: { zh: "短信含不可显示的字符，已去除", en: "a text had unprintable characters; taken out" },
  "unregistered radio": { zh: "电台未登记", en: "unregistered radio" },
  "sender not on the allow list": { zh: "来源地址不在允许名单", en: "sender not on the allow list" },
  "not on the allow list": { zh: "终端不在允许名单", en: "terminal not on the allow list" },
  "not authenticated": { zh: "终端未通过鉴权", en: "terminal not authenticated" },
  "the message names no radio": { zh: "报文未指明是哪部电台", en: "the message names no radio" },
  "an emergency call in a state that is not documented": {
    zh: "紧急呼叫的状态码无公开说明",
    en: "an emergency call in a state that is not documented",
  },
  "the layout of LP B004 is not public; the radio was read where B003 has it": {
    zh: "LP B004 格式未公开，电台号按 B003 的位置读出",
    en: "the layout of LP B004 is not public; the radio was read where B003 has it",
  },
  "the layout of the status message is not published": {
    zh: "状态报文格式未公开",
    en: "the layout of the status message is not published",
  },
  "the report has a part whose layout is not known": {
    zh: "报文中有一段格式未知",
    en: "the report has a part whose layout is not known",
  },
};

/** The doubt in the page's language. */
export function sayDoubt(doubt: string): string {
  return DOUBTS[doubt]?.[language.current] ?? doubt;
}
