# Runs one server in a folder of its own for as long as its owner wants it, then stops it and deletes the folder.
#
# Arguments: the folder's name, the seconds the server has to stop by itself, the command.
# Standard input: a line that is handed on to the server (a secret shows in no process list there), then `detach`,
#   any other line, or the end. The owner holds the other end, so its death by SIGKILL too ends the server.
# Standard output: the folder; later, if the server ends by itself, its last words.
# Exit status: 75 if the server's port was taken, so that another one is worth a try.
#
# Must lead a process group of its own: it signals the whole group, and a terminal's Ctrl-C must not reach it before
# its owner has ended.

set -u
umask 077
name=$1 patience=$2
shift 2
exec 3<&0 4>&1 2>&1
# HUP, as closing the terminal ends the owner, not a detached server. PIPE, as the owner may die before it reads.
trap '' INT HUP PIPE

finish() {
    trap '' TERM
    kill -s TERM 0
    # To PostgreSQL TERM means "once all clients have left", INT "now". The others were started with INT ignored.
    kill -s INT 0
    tenths=$((patience * 10))
    while [ "$tenths" -gt 0 ] && kill -s 0 "$server" 2>/dev/null; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
    kill -s KILL "$server" 2>/dev/null
    # bash would tell of the kill here.
    wait 2>/dev/null
    cd /
    rm -rf "$folder"
    exit "$1"
}

watch_owner() {
    read -r order <&3
    if [ "$order" = detach ]; then
        # Open for reading and writing, a pipe has no end: only a line written to it ends this.
        exec 3<>stop
        read -r order <&3
    fi
    rm -f stop
    # Again and again: a signal just before `wait` is lost in some shells.
    while kill -s TERM $$ 2>/dev/null; do sleep 1; done
}

server=''
folder=''
trap 'finish 0' TERM
folder=$(mktemp -d "${TMPDIR:-/tmp}/$name.XXXXXX" 2>/dev/null || mktemp -d "/tmp/$name.XXXXXX") || exit 1
cd "$folder" || exit 1
folder=$(pwd)
# Whatever the server writes outside of its data goes too.
export HOME="$folder" TMPDIR="$folder"
mkfifo stop || finish 1

IFS= read -r secret <&3
"$@" >log 2>&1 3<&- 4>&- <<END &
$secret
END
server=$!
printf '%s\n' "$folder" >&4
watch_owner >/dev/null 2>&1 4>&- &

wait "$server"
status=$?
{
    echo "$name ended by itself with status $status. The end of its log:"
    tail -n 20 log
} >&4 2>/dev/null
if grep -q 'already in use' log; then finish 75; fi
finish 1
