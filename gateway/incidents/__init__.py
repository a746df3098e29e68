"""The life of an emergency: which frames are one press, who took it, who closed it."""
