# Runs one command and ends it when the owner is gone.
#
#   sh supervisor.sh SIGNAL PIDFILE LOG COMMAND [ARGUMENT...]
#
# stdin   a pipe whose other end only the owner has: its end is the owner's end
# stdout  gets the command's process id, in one line
# stderr  a pipe that is held open until the command has ended and is cleaned up after
#
# SIGNAL makes the command end in a hurry but in good order. PIDFILE is where a Postgres leaves
# the number of its shared memory segment, if it had to be killed. Exits as the command does.
signal=$1 pidfile=$2 log=$3
shift 3
trap '' HUP

# Prints the processes whose parent is $1.
children() {
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        pid=${line%% *}
        # The name, in parentheses, may contain anything.
        line=${line##*) }
        line=${line#* }
        [ "${line%% *}" = "$1" ] && echo "$pid"
    done
}

end() {
    # A process that is frozen cannot end in good order.
    kill -CONT "$command" $(children "$command") 2>/dev/null
    kill -"$signal" "$command" 2>/dev/null
    patience=60
    while [ "$patience" -gt 0 ] && kill -0 "$command" 2>/dev/null; do
        sleep 0.05
        patience=$((patience - 1))
    done
    if kill -STOP "$command" 2>/dev/null; then
        kill -KILL $(children "$command") "$command" 2>/dev/null
    fi
}

exec 3<&0 </dev/null
"$@" >>"$log" 2>&1 3<&- &
command=$!
trap end USR1
# The owner never writes: this waits for the end of the pipe.
(
    read -r _ <&3
    kill -USR1 $$
) >/dev/null &
watcher=$!
echo "$command"
exec >/dev/null 3<&-

# A wait that a signal cuts short has ended before the command, unless the trap ended that.
wait "$command"
status=$?
while kill -0 "$command" 2>/dev/null; do
    wait "$command"
    status=$?
done
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null

if [ -f "$pidfile" ]; then
    set -- $(sed -n 7p "$pidfile")
    [ $# = 2 ] && ipcrm -m "$2" 2>/dev/null
fi
exit "$status"
