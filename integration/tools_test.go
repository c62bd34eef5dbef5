//go:build integration

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// versitygwVersion is the newest one that the Go proxy has.
const versitygwVersion = "v1.8.0"

// versitygw is an S3 server over a directory, built from its source.
func versitygw(t *testing.T) string {
	t.Helper()
	dir := installed(t, "versitygw", versitygwVersion, func(t *testing.T, dir string) {
		sh(t, dir, []string{"GOBIN=" + dir, "GOFLAGS=", "CGO_ENABLED=0"},
			"go", "install", "-trimpath", "-ldflags=-s -w", "github.com/versity/versitygw/cmd/versitygw@"+versitygwVersion)
	})
	return filepath.Join(dir, "versitygw")
}

// python is the interpreter of a virtual environment with the packages of
// FOLDER/requirements.txt.
func python(t *testing.T, folder string) string {
	t.Helper()
	return venv(t, "python-"+filepath.Base(folder), pinned(t, folder, "requirements.txt"))
}

// venv is the interpreter of a virtual environment with these packages.
func venv(t *testing.T, name, pins string) string {
	t.Helper()
	dir := installed(t, name, pins, func(t *testing.T, dir string) {
		sh(t, dir, nil, "python3", "-m", "venv", dir)
		requirements := filepath.Join(dir, "requirements.txt")
		write(t, requirements, pins)
		sh(t, dir, nil, filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check",
			"--only-binary", ":all:", "-r", requirements)
	})
	return filepath.Join(dir, "bin", "python")
}

// node is the script of a folder in clients/, beside its packages. No scripts of
// packages run: they would download or compile. The package compile, if any, is
// compiled, against libraries of this machine: elsewise it would download them.
func node(t *testing.T, folder, compile string) string {
	t.Helper()
	script := pinned(t, "clients", folder, "client.mjs")
	pins := pinned(t, "clients", folder, "package.json")
	dir := installed(t, "node-"+folder, pins, func(t *testing.T, dir string) {
		write(t, filepath.Join(dir, "package.json"), pins)
		// No lock file: it would name a registry, and these packages pin what they
		// need themselves.
		sh(t, dir, nil, "npm", "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
		if compile != "" {
			debian(t, "libssl-dev", "libzstd-dev", "libcurl4-openssl-dev", "libsasl2-dev", "zlib1g-dev")
			sh(t, filepath.Join(dir, "node_modules", compile), []string{"CKJS_LINKING=dynamic", "npm_config_nodedir=" + nodePrefix(t)},
				filepath.Join(dir, "node_modules", ".bin", "node-pre-gyp"), "install", "--build-from-source")
		}
	})
	// A script finds its packages beside it.
	path := filepath.Join(dir, "client.mjs")
	write(t, path, script)
	return path
}

// nodePrefix is where Node.js is installed, with the headers that its packages compile
// against: node-gyp would download them.
func nodePrefix(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		t.Fatal(err)
	}
	prefix := filepath.Dir(filepath.Dir(path))
	if _, err := os.Stat(filepath.Join(prefix, "include", "node", "node.h")); err != nil {
		t.Fatalf("Node.js is installed without its headers: %v", err)
	}
	return prefix
}

// java is the class path of the programs in clients/java, compiled with a version
// of Apache Kafka's client.
func java(t *testing.T, version string) string {
	t.Helper()
	from := filepath.Join(source, "clients", "java")
	programs := []string{"Client.java", "Administer.java"}
	if strings.HasPrefix(version, "2.1.") {
		programs[1] = filepath.Join("old", "Administer.java")
	}
	pins := pinned(t, "clients", "java", "pom.xml")
	for i, name := range programs {
		pins += pinned(t, "clients", "java", name)
		programs[i] = filepath.Join(from, name)
	}
	dir := installed(t, "java-"+version, pins, func(t *testing.T, dir string) {
		sh(t, dir, nil, "mvn", "--batch-mode", "--quiet", "--file", filepath.Join(from, "pom.xml"), "-Dkafka.version="+version,
			"dependency:copy-dependencies", "-DoutputDirectory="+dir)
		sh(t, dir, nil, append([]string{"javac", "-nowarn", "-cp", filepath.Join(dir, "*"), "-d", dir}, programs...)...)
	})
	return dir + string(os.PathListSeparator) + filepath.Join(dir, "*")
}

// jdk is the home of a Java of this version or a later one: that of SLUICE_TEST_JDK,
// or where systems install them. No registry has one that is whole.
func jdk(t *testing.T, version int) string {
	t.Helper()
	homes, _ := filepath.Glob("/usr/lib/jvm/*")
	for _, home := range append([]string{os.Getenv("SLUICE_TEST_JDK")}, homes...) {
		release, err := os.ReadFile(filepath.Join(home, "release"))
		if err != nil {
			continue
		}
		var major int
		if _, after, found := strings.Cut(string(release), `JAVA_VERSION="`); found {
			fmt.Sscanf(after, "%d", &major)
		}
		if major >= version {
			return home
		}
	}
	t.Skipf("not run: it wants a JDK of %d or later, which is not in /usr/lib/jvm; SLUICE_TEST_JDK names another", version)
	return ""
}

// goProgram is a program of the module clients/go, built: a module of its own, so
// that the broker's does not grow by what clients need.
func goProgram(t *testing.T, folder string) string {
	t.Helper()
	dir := filepath.Join(source, "clients", "go")
	pins := pinned(t, "clients", "go", "go.sum") + pinned(t, "clients", "go", "wire", "wire.go") +
		pinned(t, "clients", "go", folder, "main.go")
	to := installed(t, "go-"+folder, pins, func(t *testing.T, to string) {
		sh(t, dir, []string{"GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=1"}, "go", "build", "-trimpath", "-buildvcs=false",
			"-o", filepath.Join(to, "client"), "./"+folder)
	})
	return filepath.Join(to, "client")
}

// rustProgram is the program of clients/rust, with what it compiles of librdkafka
// kept for the next time that it changes.
func rustProgram(t *testing.T) string {
	t.Helper()
	from := filepath.Join(source, "clients", "rust")
	pins := pinned(t, "clients", "rust", "Cargo.lock") + pinned(t, "clients", "rust", "src", "main.rs")
	to := installed(t, "rust", pins, func(t *testing.T, to string) {
		target := filepath.Join(cache, "cargo")
		sh(t, from, nil, "cargo", "build", "--locked", "--quiet", "--target-dir", target)
		if err := os.Rename(filepath.Join(target, "debug", "client"), filepath.Join(to, "client")); err != nil {
			t.Fatal(err)
		}
	})
	return filepath.Join(to, "client")
}

// kcat is the path of kcat, a Debian package.
func kcat(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("kcat"); err != nil {
		debian(t, "kcat")
	}
	path, err := exec.LookPath("kcat")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// debian installs Debian's packages, if they are not there. Root installs them;
// others are told to.
func debian(t *testing.T, packages ...string) {
	t.Helper()
	if exec.Command("dpkg-query", append([]string{"--show"}, packages...)...).Run() == nil {
		return
	}
	if os.Geteuid() != 0 {
		t.Fatalf("not installed: apt-get install %s", strings.Join(packages, " "))
	}
	dir, env := t.TempDir(), []string{"DEBIAN_FRONTEND=noninteractive"}
	sh(t, dir, env, "apt-get", "update", "-qq")
	sh(t, dir, env, append([]string{"apt-get", "install", "-y", "-qq", "--no-install-recommends"}, packages...)...)
}

// write replaces a file, at once for readers of other processes.
func write(t *testing.T, path, text string) {
	t.Helper()
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		t.Fatal(err)
	}
	defer temporary.Close()
	if _, err := temporary.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		t.Fatal(err)
	}
}
