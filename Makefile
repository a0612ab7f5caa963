# Short names for the project's chores; the chores themselves are in xtask/ (`cargo xtask --help`).
.PHONY: setup test demo bench conformance fuzz soak tidy

setup test demo bench conformance fuzz soak tidy:
	@cargo xtask $@
