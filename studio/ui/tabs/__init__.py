"""One file a tab; `studio.ui.shell` finds every module here that has a TAB."""
