"""Where the built site lies, and its pages."""

from prunelib.paths import project_root

BUILT = project_root() / "out" / "site"
PAGES = sorted(str(path.relative_to(BUILT)) for path in BUILT.glob("**/*.html"))
