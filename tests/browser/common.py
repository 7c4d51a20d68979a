"""Where the built site lies, its pages, and the two sizes that they are looked at in."""

from prunelib.paths import project_root

BUILT = project_root() / "out" / "site"
PAGES = sorted(str(path.relative_to(BUILT)) for path in BUILT.glob("**/*.html"))
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
