// pause holds a pod sandbox, or the PID namespace of a node, open: it is PID 1 there, does nothing,
// reaps whatever is orphaned to it, and ends on SIGTERM or SIGINT.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

const version = "1"

// reap collects every child that has ended. SIGCHLDs merge, so one of them may stand for many.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}

func main() {
	for _, argument := range os.Args[1:] {
		if argument == "-v" || argument == "--version" {
			os.Stdout.WriteString("pause " + version + "\n")
			return
		}
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	reap() // Children may have ended before we listened.
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		reap()
	}
}
