// The HTTP side of test-server: what tests ask of a pod.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const (
	maxBody      = 4 << 20
	drainTimeout = 5 * time.Second
)

// fetchTimeout bounds what the server fetches for others, and what `get` fetches.
var fetchTimeout = 5 * time.Second

// fetch gets a URL over a connection of its own: a kept one would hide a changed Service from a test.
func fetch(ctx context.Context, url string, timeout time.Duration) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	return response.StatusCode, body, err
}

// get prints what a URL answers; a status of 400 or more is a failure.
func get(arguments []string) int {
	flags := flag.NewFlagSet("get", flag.ExitOnError)
	timeout := flags.Duration("timeout", fetchTimeout, "give up after this long")
	flags.Parse(arguments)
	if flags.NArg() != 1 {
		return fail("get takes one URL")
	}
	status, body, err := fetch(context.Background(), flags.Arg(0), *timeout)
	os.Stdout.Write(body)
	if err != nil {
		return fail("get: %v", err)
	}
	if status >= 400 {
		return fail("get %s: status %d", flags.Arg(0), status)
	}
	return 0
}

// resolve prints the addresses of a name, as this pod's resolver has them.
func resolve(arguments []string) int {
	if len(arguments) != 1 {
		return fail("resolve takes one name")
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, arguments[0])
	if err != nil {
		return fail("resolve: %v", err)
	}
	for _, address := range addresses {
		fmt.Println(address)
	}
	return 0
}

func answerHostname(response http.ResponseWriter, request *http.Request) {
	name, err := os.Hostname()
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(response, name)
}

func answerURL(response http.ResponseWriter, request *http.Request) {
	url, timeout := request.FormValue("u"), fetchTimeout
	if text := request.FormValue("timeout"); text != "" {
		parsed, err := time.ParseDuration(text)
		if err != nil {
			http.Error(response, fmt.Sprintf("timeout=%s: not a duration such as 5s", text), http.StatusBadRequest)
			return
		}
		timeout = parsed
	}
	if url == "" {
		http.Error(response, "say which URL: /url?u=http://…", http.StatusBadRequest)
		return
	}
	status, body, err := fetch(request.Context(), url, timeout)
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadGateway)
		return
	}
	response.WriteHeader(status)
	response.Write(body)
}

func answerEnv(response http.ResponseWriter, request *http.Request) {
	for _, variable := range os.Environ() {
		fmt.Fprintln(response, variable)
	}
}

func answerExit(response http.ResponseWriter, request *http.Request) {
	code, err := strconv.Atoi(request.FormValue("code"))
	if request.FormValue("code") == "" {
		code, err = 0, nil
	}
	if err != nil || code < 0 || code > 255 {
		http.Error(response, "code: not a number from 0 to 255", http.StatusBadRequest)
		return
	}
	fmt.Fprintf(response, "exiting with code %d\n", code)
	// The answer must be on its way before the process is gone.
	http.NewResponseController(response).Flush()
	go func() {
		time.Sleep(100 * time.Millisecond)
		os.Exit(code)
	}()
}

func answerEcho(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, maxBody))
	if err != nil {
		http.Error(response, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	answerJSON(response, map[string]any{
		"method": request.Method, "path": request.URL.Path, "query": request.URL.RawQuery,
		"host": request.Host, "remote": request.RemoteAddr, "headers": request.Header, "body": string(body),
	})
}

func answerJSON(response http.ResponseWriter, value any) {
	response.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(response).Encode(value); err != nil {
		fail("answer: %v", err)
	}
}

func serve(arguments []string) int {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	port := flags.Int("port", 8080, "port to listen on")
	certificate := flags.String("tls-cert", "", "certificate `FILE`; with -tls-key, serve HTTPS")
	key := flags.String("tls-key", "", "private key `FILE`")
	bodyFile := flags.String("body-file", "", "answer / with this `FILE`, read anew for each request, instead of the hostname")
	flags.DurationVar(&fetchTimeout, "timeout", fetchTimeout, "for what /url fetches")
	flags.Parse(arguments)
	if flags.NArg() > 0 {
		return fail("serve: unknown argument %q", flags.Arg(0))
	}
	if (*certificate == "") != (*key == "") {
		return fail("serve: -tls-cert and -tls-key go together")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", answerHostname)
	if *bodyFile != "" {
		mux = http.NewServeMux()
		// A mounted ConfigMap changes under a running pod, so nothing of it is kept.
		mux.HandleFunc("/{$}", func(response http.ResponseWriter, request *http.Request) {
			http.ServeFile(response, request, *bodyFile)
		})
	}
	mux.HandleFunc("/healthz", func(response http.ResponseWriter, _ *http.Request) { fmt.Fprintln(response, "ok") })
	mux.HandleFunc("/url", answerURL)
	mux.HandleFunc("/env", answerEnv)
	mux.HandleFunc("/exit", answerExit)
	mux.HandleFunc("/echo", answerEcho)
	mux.HandleFunc("/admit", answerAdmission)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Addr: fmt.Sprintf(":%d", *port), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", server.Addr)
	if err != nil {
		return fail("serve: %v", err)
	}
	// A port of 0 is chosen by the kernel, so the one in use is said.
	fmt.Printf("serving on %s\n", listener.Addr())
	failed := make(chan error, 1)
	go func() {
		if *certificate != "" {
			failed <- server.ServeTLS(listener, *certificate, *key)
		} else {
			failed <- server.Serve(listener)
		}
	}()
	select {
	case err := <-failed:
		return fail("serve: %v", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fail("serve: %v", err)
	}
	return 0
}
