"""Who is asked for a position, how often, within what a channel can carry.

``classes`` says how urgent a unit is, ``shares`` divides a channel's budget among the classes,
``channel`` is the schedule, ``keeper`` runs it on the live board. Only the keeper knows time.
"""
