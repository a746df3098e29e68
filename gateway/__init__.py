"""The PDT radio gateway: a radio's bytes in; MQTT, a time series, an alarm and a live map out."""

__version__ = "0.1.0"
