// test-server is the one program of the image that test suites run in pods: a small HTTP server,
// and the few commands that a pod of a test needs. It acts by its first argument, or, as `tar` or
// `cat`, by the name it is called under.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A command gets its arguments and returns its exit code.
type command func(arguments []string) int

var commands map[string]command

func init() {
	// Filled here: `help` reads the map that holds it.
	commands = map[string]command{
		"serve": serve, "get": get, "resolve": resolve,
		"sleep": sleep, "print": print, "echo": print, "exit": exit, "env": env, "hostname": hostname,
		"cat": cat, "write": write, "ls": list, "test": test, "tar": tarCommand, "help": help,
	}
}

// fail reports on standard error and returns the exit code of a failure.
func fail(format string, arguments ...any) int {
	fmt.Fprintf(os.Stderr, "test-server: "+format+"\n", arguments...)
	return 1
}

func help([]string) int {
	names := make([]string, 0, len(commands))
	for name := range commands {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Println("commands:", strings.Join(names, " "))
	return 0
}

// sleep takes seconds, a duration such as 1m30s, or "infinity", and ends early on SIGTERM.
func sleep(arguments []string) int {
	var over <-chan time.Time // Nil never fires: infinity.
	if len(arguments) > 0 && arguments[0] != "infinity" {
		duration, err := time.ParseDuration(arguments[0])
		if seconds, number := strconv.ParseFloat(arguments[0], 64); number == nil {
			duration, err = time.Duration(seconds*float64(time.Second)), nil
		}
		if err != nil {
			return fail("sleep %s: neither seconds, nor a duration, nor infinity", arguments[0])
		}
		over = time.After(duration)
	}
	// PID 1 of a container has no default action for signals: without this it could only be killed.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-over:
		return 0
	case received := <-stop:
		return 128 + int(received.(syscall.Signal))
	}
}

func print(arguments []string) int {
	fmt.Println(strings.Join(arguments, " "))
	return 0
}

func exit(arguments []string) int {
	if len(arguments) != 1 {
		return fail("exit takes one argument, the exit code")
	}
	code, err := strconv.Atoi(arguments[0])
	if err != nil || code < 0 || code > 255 {
		return fail("exit %s: not a number from 0 to 255", arguments[0])
	}
	return code
}

func env([]string) int {
	for _, variable := range os.Environ() {
		fmt.Println(variable)
	}
	return 0
}

func hostname([]string) int {
	name, err := os.Hostname()
	if err != nil {
		return fail("hostname: %v", err)
	}
	fmt.Println(name)
	return 0
}

func cat(arguments []string) int {
	if len(arguments) == 0 {
		arguments = []string{"-"}
	}
	code := 0
	for _, path := range arguments {
		file := os.Stdin
		if path != "-" {
			opened, err := os.Open(path)
			if err != nil {
				code = fail("cat: %v", err)
				continue
			}
			file = opened
		}
		if _, err := io.Copy(os.Stdout, file); err != nil {
			code = fail("cat: %s: %v", path, err)
		}
		file.Close()
	}
	return code
}

// write makes a file of its arguments, or of standard input where there is no text.
func write(arguments []string) int {
	if len(arguments) == 0 {
		return fail("write takes a file, and the text to write")
	}
	var text io.Reader = os.Stdin
	if len(arguments) > 1 {
		text = strings.NewReader(strings.Join(arguments[1:], " ") + "\n")
	}
	file, err := os.Create(arguments[0])
	if err != nil {
		return fail("write: %v", err)
	}
	_, err = io.Copy(file, text)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fail("write %s: %v", arguments[0], err)
	}
	return 0
}

func list(arguments []string) int {
	if len(arguments) == 0 {
		arguments = []string{"."}
	}
	code := 0
	for _, path := range arguments {
		entries, err := os.ReadDir(path)
		if err != nil {
			code = fail("ls: %v", err)
		}
		for _, entry := range entries {
			fmt.Println(entry.Name())
		}
	}
	return code
}

// test knows what `kubectl cp` asks for before it copies into a pod: `test -d DIR`.
func test(arguments []string) int {
	if len(arguments) != 2 {
		return fail("test takes -d, -e or -f, and a path") + 1
	}
	information, err := os.Stat(arguments[1])
	answers := map[string]bool{
		"-e": err == nil,
		"-d": err == nil && information.IsDir(),
		"-f": err == nil && information.Mode().IsRegular(),
	}
	answer, known := answers[arguments[0]]
	switch {
	case !known:
		return fail("test %s: only -d, -e and -f are known", arguments[0]) + 1
	case answer:
		return 0
	}
	return 1
}

func main() {
	name, arguments := filepath.Base(os.Args[0]), os.Args[1:]
	run, known := commands[name]
	switch {
	case known:
	case len(arguments) == 0 || strings.HasPrefix(arguments[0], "-"):
		run = serve
	default:
		if run, known = commands[arguments[0]]; !known {
			help(nil)
			os.Exit(fail("unknown command %q", arguments[0]))
		}
		arguments = arguments[1:]
	}
	os.Exit(run(arguments))
}
