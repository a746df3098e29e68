"""From the settings to the client's options; what is wrong is said at the start."""

import ssl

from gateway.errors import ConfigError
from gateway.settings import Loaded
from gateway.sinks.mqtt_client import Inbox, Message, MqttOptions


def options_from(
    loaded: Loaded, will: Message, inbox: Inbox, embedded: tuple[str, int] | None
) -> MqttOptions:
    """The settings as the client wants them; raises ConfigError for what is wrong already now."""
    settings = loaded.settings.mqtt
    client_id = settings.client_id or f"pdt-{loaded.settings.site.id}"
    if embedded is not None:
        return MqttOptions(
            host=embedded[0],
            port=embedded[1],
            client_id=client_id,
            protocol="3.1.1",
            keepalive_s=settings.keepalive_s,
            inflight=settings.inflight,
            will=will,
            inbox=inbox,
        )

    def password() -> str:
        return loaded.secret("mqtt.password_file", settings.password_file)

    def tls() -> ssl.SSLContext | None:
        if not settings.ca_file:
            return None
        context = ssl.create_default_context(cafile=loaded.path(settings.ca_file))
        if settings.cert_file:
            key = loaded.path(settings.key_file) if settings.key_file else None
            context.load_cert_chain(loaded.path(settings.cert_file), key)
        return context

    password()
    try:
        tls()
    except OSError as error:
        raise ConfigError(
            f"{loaded.file}: mqtt.ca_file, cert_file, key_file: {error.strerror or error}; "
            "name PEM files that the service may read"
        ) from None
    return MqttOptions(
        host=settings.host,
        port=settings.port,
        client_id=client_id,
        protocol=settings.protocol,
        user=settings.user,
        password=password,
        tls=tls,
        keepalive_s=settings.keepalive_s,
        inflight=settings.inflight,
        will=will,
        inbox=inbox,
    )
