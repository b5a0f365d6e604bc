# shellcheck shell=bash
# What the make-repo.sh scripts share; sourced. Makes commits with fixed names and dates, so that
# every machine gets the same commit ids.

export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME="Ada Brook" GIT_AUTHOR_EMAIL="ada@brook.example"
export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

# Begins an empty repository at $1 and goes there.
begin_repo() {
    [ $# -eq 1 ] || { echo "usage: make-repo.sh DIRECTORY" >&2; exit 2; }
    if [ -e "$1" ] && [ -n "$(ls -A "$1")" ]; then
        echo "error: $1 is not empty: name a directory that isn't there yet" >&2
        exit 2
    fi
    mkdir -p "$1"
    cd "$1"
    git -c init.defaultBranch=main init --quiet
}

# Commits all there is: commit DATE MESSAGE
commit() {
    git add --all
    GIT_AUTHOR_DATE="$1" GIT_COMMITTER_DATE="$1" git -c core.autocrlf=false commit --quiet --message "$2"
}
