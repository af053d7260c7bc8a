// relay passes TCP connections on: `relay -listen ADDR:PORT [-listen …] -to ADDR:PORT`.
// Nodes reach an API server that listens on the host's loopback through it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	retryPause  = 50 * time.Millisecond
)

// fail writes one line about one failure.
func fail(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "relay: "+format+"\n", arguments...)
}

// listen waits for an address that is not there yet, since a bridge may come up after us.
func listen(ctx context.Context, address string, patience time.Duration) (net.Listener, error) {
	deadline := time.Now().Add(patience)
	for {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		notYet := errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)
		if err == nil || !notYet || time.Now().After(deadline) {
			return listener, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

// pump copies one direction and passes the end of the stream on, leaving the other direction open.
func pump(to, from *net.TCPConn) {
	_, err := to.ReadFrom(from)
	if err != nil {
		// Half of a broken connection is of no use to anybody: end both sides at once.
		to.SetLinger(0)
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}

func serve(client *net.TCPConn, target string) {
	defer client.Close()
	upstream, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		fail("%s from %s: %v", target, client.RemoteAddr(), err)
		return
	}
	defer upstream.Close()
	var both sync.WaitGroup
	both.Add(2)
	go func() { defer both.Done(); pump(upstream.(*net.TCPConn), client) }()
	go func() { defer both.Done(); pump(client, upstream.(*net.TCPConn)) }()
	both.Wait()
}

// accept serves until the listener is closed.
func accept(listener net.Listener, target string) {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			fail("accept on %s: %v", listener.Addr(), err)
			time.Sleep(retryPause) // Out of descriptors: spinning would not free any.
			continue
		}
		go serve(client.(*net.TCPConn), target)
	}
}

func main() {
	var addresses []string
	flag.Func("listen", "`ADDR:PORT` to listen on; may be given several times", func(value string) error {
		_, _, err := net.SplitHostPort(value)
		addresses = append(addresses, value)
		return err
	})
	target := flag.String("to", "", "`ADDR:PORT` to pass connections on to")
	patience := flag.Duration("patience", 10*time.Second, "how long to wait for an address that is not there yet")
	flag.Parse()
	if len(addresses) == 0 || *target == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(64)
	}
	if _, _, err := net.SplitHostPort(*target); err != nil {
		fail("-to %s: %v", *target, err)
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	for _, address := range addresses {
		listener, err := listen(ctx, address, *patience)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			fail("listen on %s: %v", address, err)
			os.Exit(1)
		}
		go accept(listener, *target)
	}
	<-ctx.Done()
}
