"""The local web application: pages on 127.0.0.1 in which faces are looked at and named.

`serving` opens the socket, `security` says who may ask, `app` has the addresses; `showing` turns what the library says
into JSON and `deciding` turns JSON into the verbs of `photocluster.pipeline`, which are those of the command line.
`questions` keeps what there is to ask, made by `asking` in a process of its own; `pictures` makes and keeps thumbnails.

Threads: a `Library` is for one thread, so each `desk.Desk` is a thread with one. Decisions have a desk of their own and
never wait for what is only shown; nor does one wait for the computing before another, which has its desk too
(`deciding.look_first`). Other windows, and the command line in the meantime, are noticed by SQLite's
``data_version`` (`changes`), and every window then asks for what it shows anew.
"""
