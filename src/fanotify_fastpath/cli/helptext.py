"""What ``--help`` says beside the options."""

from fanotify_fastpath.cli.exits import EXIT_HELP

DESCRIPTION = "Who touched what under a directory, and forbidding it: subtree watching on Linux fanotify."

EPILOG = f"""\
examples:
  fanfp watch /srv/data                 print every change below /srv/data
  fanfp guard /srv/keys --deny open     let nobody open anything below /srv/keys
  fanfp doctor                          say what works here, and why not

{EXIT_HELP}
'fanfp COMMAND --help' has the options and examples of each command.
"""

WATCH = """\
Print what happens below directories, at any depth, from the moment that the line beginning with "watching" is printed
on standard error. Events go to standard output, each at once. SIGINT and SIGTERM end it after what was read is written.
"""

WATCH_EPILOG = f"""\
event types (-e): access modify attrib close_write close_nowrite open open_exec create delete rename moved_from
  moved_to; close, move, changes (modify attrib close_write create delete rename) and all stand for several.
  q_overflow, rescan, root_gone, unmount and unwatched come by themselves.

handlers (--handler NAME:key=value,key=value): + separates the items of a list, a backslash takes the meaning from
  , + = : and itself. 'fanfp handlers' lists the names, 'fanfp handlers show NAME' the arguments.

escapes (--format): %w directory with its slash, %f name in it, %e events, %Xe events separated by X, %T time,
  %n newline, %0 NUL, %% percent; %{{path}} %{{old_path}} %{{mask}} %{{crossing}} %{{tgid}} %{{tid}} %{{uid}} %{{comm}}
  %{{exe}} %{{dev}} %{{inode}} %{{lost}} %{{time_ns}}.

examples:
  fanfp watch /srv/data
  fanfp watch /srv/data -e create,delete,rename --exclude /srv/data/cache
  fanfp watch . --handler 'ignore-prefix:prefixes=.+~' --handler 'allow-deny-list:mode=allow,suffixes=.c+.h'
  fanfp watch /srv/data --json | jq -r 'select(.uid == 0) | .path'
  fanfp watch src -e close_write --count 1 --timeout 60 && make
  fanfp watch . --format '%T %e %w%f' --timefmt %H:%M:%S
  fanfp watch . -0 --format '%w%f' -e close_write | xargs -0 -n1 gzip
  fanfp watch . --batch --quiet-ms 200 --json

{EXIT_HELP}"""

GUARD = """\
Forbid operations below directories, from the moment that the line beginning with "guarding" is printed on standard
error, until this command ends. Denied attempts go to standard output; those that engine kernel denies are only counted
(--stats). It never denies anything to itself.
"""

GUARD_EPILOG = f"""\
examples:
  fanfp guard /srv/keys --deny open --allow-uid root --allow-exe /usr/sbin/nginx
  fanfp guard /srv/upload --deny exec --json
  fanfp guard /srv/archive --deny open,access --on-timeout deny
  fanfp guard /srv/archive --deny unlink,rmdir,rename,truncate --engine kernel --stats

{EXIT_HELP}"""

HANDLERS = """\
List the handlers that can be attached by name, or show one: its flags, description, arguments, where it is from, how
many attaches use it, and what its verdict depends on. Root loads more of them for all processes, and unloads them.
"""

HANDLERS_EPILOG = f"""\
A package offers handlers by entry points of the group fanotify_fastpath.handlers; a file is Python, and defines them.
Root must own the code, and nobody else may write to it, because it runs with the rights of whoever attaches it.
What is loaded can be read in /run/fanotify_fastpath and, where that is a bpf filesystem, /sys/fs/bpf/fanotify_fastpath.

examples:
  fanfp handlers
  fanfp handlers show ignore-prefix
  fanfp handlers load /usr/local/lib/handlers/only_suffixes.py
  fanfp watch . --handler 'only-suffixes:suffixes=.c+.h'
  fanfp handlers unload only-suffixes

{EXIT_HELP}"""

DOCTOR = """\
Say which engines work here and why others do not, found by trying; what the kernel's limits are; and for each PATH
whether it can be watched. Nothing that anybody uses is touched.
"""

DOCTOR_EPILOG = """\
examples:
  fanfp doctor
  fanfp doctor /srv/data /mnt/nas
  fanfp doctor --live /srv/data         make a file there, and see whether its event comes
  fanfp doctor --json | jq .engines

exit codes: 0 the report was made, whatever is in it; 1 a PATH does not exist, or --live saw no event;
  2 wrong usage; 3 and 4 --live had no permission, or is not supported there.
"""

PS = """\
List the groups that fanfpd serves, with user, process, roots, marks and what was told, lost and withheld: all groups
for root, their own for others. The environment variable FANFPD_SOCKET names another socket than the usual one.
"""

PS_EPILOG = """\
columns: told, events that were put into the ring; lost, those that found no room anywhere; withheld, those that the
  user may not see (only root is told how many).

examples:
  fanfp ps
  fanfp ps --json | jq '.[].uid'

exit codes: 0 done; 1 the daemon does not answer; 2 wrong usage; 3 this user may not connect; 4 no daemon is there.
"""

TOP = """\
Show the groups that fanfpd serves again and again, the busiest first: what "fanfp ps" shows, and how many events a
second were told and lost since the last time. SIGINT and SIGTERM end it.
"""

TOP_EPILOG = """\
examples:
  fanfp top
  fanfp top --interval 0.5
  fanfp top --json --count 2 | tail -n 1

exit codes: 0 done; 1 the daemon does not answer, or no more; 2 wrong usage; 3 this user may not connect; 4 no daemon is
  there.
"""
