// As much of tar as `kubectl cp` needs: `tar cf - PATH…` and `tar -xmf - -C DIR`.
package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type tarOptions struct {
	create, extract, keepNowAsTime bool
	file, directory                string
	paths                          []string
}

// tarArguments reads letters such as `cf` and `-xmf`, each value following the word that asks for it.
func tarArguments(arguments []string) (tarOptions, error) {
	options := tarOptions{file: "-", directory: "."}
	next := func(letter rune) (string, error) {
		if len(arguments) == 0 {
			return "", fmt.Errorf("option %c needs a value", letter)
		}
		value := arguments[0]
		arguments = arguments[1:]
		return value, nil
	}
	for first := true; len(arguments) > 0; first = false {
		word := arguments[0]
		arguments = arguments[1:]
		switch {
		case word == "--no-same-owner" || word == "--no-same-permissions":
			// Owners are never restored here, and the mode is masked by the umask anyway.
		case strings.HasPrefix(word, "--"):
			return options, fmt.Errorf("option %s is not supported", word)
		case word != "-" && (first || strings.HasPrefix(word, "-")):
			for _, letter := range strings.TrimPrefix(word, "-") {
				var err error
				switch letter {
				case 'c':
					options.create = true
				case 'x':
					options.extract = true
				case 'm':
					options.keepNowAsTime = true
				case 'f':
					options.file, err = next(letter)
				case 'C':
					options.directory, err = next(letter)
				case 'v', 'p', 'h':
				default:
					err = fmt.Errorf("option -%c is not supported", letter)
				}
				if err != nil {
					return options, err
				}
			}
		default:
			options.paths = append(options.paths, word)
		}
	}
	if options.create == options.extract {
		return options, errors.New("say one of c (create) and x (extract)")
	}
	if options.create && len(options.paths) == 0 {
		return options, errors.New("nothing to put into the archive")
	}
	return options, nil
}

// addFile writes one file, directory or link under its name in the archive.
func addFile(archive *tar.Writer, path, name string, information os.FileInfo) error {
	target := ""
	if information.Mode()&os.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	} else if !information.Mode().IsRegular() && !information.IsDir() {
		return nil // Sockets and devices mean nothing in another place.
	}
	header, err := tar.FileInfoHeader(information, target)
	if err != nil {
		return err
	}
	header.Name = name
	if information.IsDir() {
		header.Name += "/"
	}
	if err := archive.WriteHeader(header); err != nil || !information.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	// A file that grows meanwhile, as a log does, counts as long as it was.
	_, err = io.CopyN(archive, file, header.Size)
	return err
}

func createTar(options tarOptions, output io.Writer) error {
	archive := tar.NewWriter(output)
	for _, given := range options.paths {
		root := given
		if !filepath.IsAbs(root) {
			root = filepath.Join(options.directory, given)
		}
		err := filepath.Walk(root, func(path string, information os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			below, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			// An archive holds no absolute names; kubectl expects them without the leading slash.
			name := strings.TrimLeft(filepath.Join(given, below), "/")
			if name == "" {
				name = "."
			}
			return addFile(archive, path, name, information)
		})
		if err != nil {
			return err
		}
	}
	return archive.Close()
}

// extractEntry works through os.Root, which no name or link of an archive can leave.
func extractEntry(root *os.Root, header *tar.Header, content io.Reader, now bool) error {
	name := filepath.Clean(strings.TrimLeft(header.Name, "/"))
	mode := os.FileMode(header.Mode).Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, mode|0o700)
	case tar.TypeReg, tar.TypeSymlink:
	default:
		return fmt.Errorf("%s: entries of type %q are not supported", header.Name, header.Typeflag)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if header.Typeflag == tar.TypeSymlink {
		return root.Symlink(header.Linkname, name)
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil && !now {
		err = root.Chtimes(name, time.Now(), header.ModTime)
	}
	return err
}

func extractTar(options tarOptions, input io.Reader) error {
	root, err := os.OpenRoot(options.directory)
	if err != nil {
		return err
	}
	defer root.Close()
	archive := tar.NewReader(input)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			// Whoever writes may pad beyond the end; a closed pipe would fail them.
			_, err = io.Copy(io.Discard, input)
			return err
		}
		if err != nil {
			return err
		}
		if err := extractEntry(root, header, archive, options.keepNowAsTime); err != nil {
			return err
		}
	}
}

func tarCommand(arguments []string) int {
	options, err := tarArguments(arguments)
	if err != nil {
		return fail("tar: %v", err)
	}
	file := os.Stdin
	switch {
	case options.create && options.file == "-":
		file = os.Stdout
	case options.create:
		file, err = os.Create(options.file)
	case options.file != "-":
		file, err = os.Open(options.file)
	}
	if err == nil && options.create {
		err = createTar(options, file)
	} else if err == nil {
		err = extractTar(options, file)
	}
	if err != nil {
		return fail("tar: %v", err)
	}
	if err := file.Close(); err != nil {
		return fail("tar: %v", err)
	}
	return 0
}
