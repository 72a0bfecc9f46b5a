"""Print what happens to directories, and nothing about files."""

import argparse

import fanotify_fastpath as fan


class DirectoriesOnly(fan.Handler):
    """Send events on directories and skip those on anything else."""

    name = "directories-only"
    desc = "send events on directories only"
    flags = fan.HandlerFlags.UNPRIVILEGED
    depends = fan.Depends.MASK

    def handle(self, event: fan.HandlerEvent) -> fan.Verdict:
        return fan.SEND_TO_USERSPACE if event.is_dir else fan.SKIP_EVENT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory")
    parser.add_argument("--engine", choices=["auto", "kernel", "fanotify"], default="auto")
    options = parser.parse_args()
    with fan.Group(engine=options.engine) as group:
        group.attach(DirectoriesOnly)
        group.mark(options.directory, fan.Mask.CREATE | fan.Mask.DELETE | fan.Mask.RENAME | fan.Mask.ONDIR)
        for event in group:
            print(",".join(event.names), event.path, flush=True)


if __name__ == "__main__":
    main()
