//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The engines, each with its version and how it is started. The pins of the core
// are in engines/requirements.txt.
var (
	deltaRs = engine{name: "delta-rs (deltalake)", version: "1.6.6", core: true, command: pythonEngine("deltalake"),
		lacks: map[string]string{
			"stream":  "its change feed reads only tables with delta.enableChangeDataFeed, which Sluice does not set: it would ask of every writer what deletes took",
			"snippet": "`sluice table sql` prints none for it: Polars' is the same",
		}}
	duckDB = engine{name: "DuckDB", version: "1.5.5", core: true, command: pythonEngine("duckdb"),
		lacks: map[string]string{
			"stream":              "it has no streaming read",
			"time travel/by time": "its delta extension knows versions only",
		},
		snippet: func(t *testing.T, s store, text string) *process {
			return startWith(t, text, "the snippet for DuckDB", append(quiet, s.env...), python(t, "engines"), script("engines", "with_duckdb.py"))
		}}
	polars = engine{name: "Polars", version: "2.1.0", core: true, command: pythonEngine("polars"),
		lacks:   map[string]string{"stream": "it has no streaming read of a table"},
		snippet: pythonSnippet(func(t *testing.T) string { return python(t, "engines") })}
)

// engines are the rows of the card. The core are the implementations of the protocol:
// delta-rs, delta-kernel-rs, Polars' reader with the first one's log, and Delta Kernel,
// which is Delta Lake's own beside Spark.
var engines = []engine{
	deltaRs, duckDB, polars,
	{name: "Daft", version: "0.7.26 (delta-rs 1.6.6)", command: pythonEngine("daft", "daft==0.7.26", "deltalake==1.6.6", "pyarrow==25.0.1"),
		lacks: map[string]string{
			"stream":  "it has no streaming read of a table",
			"snippet": "`sluice table sql` prints none for it",
		}},
	{name: "ClickHouse (chDB)", version: "26.9 (4.4.0)", command: pythonEngine("chdb", "chdb==4.4.0", "pyarrow==26.0.1"),
		lacks: map[string]string{
			"stream":              "its change feed reads only tables with delta.enableChangeDataFeed",
			"time travel/by time": "it knows versions only",
			"snippet":             "`sluice table sql` prints none for it",
		}},
	spark("3.5.9", "3.3.3", "spark35.xml", "setuptools==80.9.0"),
	spark("4.2.0", "4.4.0", "spark4.xml"),
	{name: "Delta Kernel (Java)", version: "4.4.0", core: true, command: func(t *testing.T, s store) ([]string, []string) {
		dir := maven(t, "kernel", filepath.Join("engines", "kernel.xml"), filepath.Join("engines", "Kernel.java"))
		return nil, []string{"java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", dir + string(os.PathListSeparator) + filepath.Join(dir, "*"), "Kernel"}
	}, lacks: map[string]string{
		"stream":  "streams are for the connectors that are built on it",
		"snippet": "it is a library for those who write connectors",
	}},
	{name: "Trino", version: trinoVersion, command: func(t *testing.T, s store) ([]string, []string) {
		return trinoEnv(t), []string{"python3", script("engines", "read.py"), "trino"}
	}, lacks: map[string]string{
		"stream": "it has no streaming read: table_changes is a query between two versions",
	}, snippet: func(t *testing.T, s store, text string) *process {
		return startWith(t, text, "the snippet for Trino", append(trinoEnv(t), s.env...), "python3", script("engines", "with_trino.py"))
	}},
	{name: "Pathway (Delta connector)", version: "0.33.0", notRun: "it wants a licence key, which it checks online; `sluice table sql --engine pathway` prints how it reads a topic"},
}

// spark is Spark with Delta Lake, by the jars of a pom in engines/: those that
// delta-spark of PyPI asks for are not always in Maven.
func spark(version, delta, pom string, needs ...string) engine {
	interpreter := func(t *testing.T) string {
		return venv(t, "python-"+strings.TrimSuffix(pom, ".xml"), strings.Join(append(needs, "--no-binary pyspark", "pyspark=="+version), "\n"))
	}
	env := func(t *testing.T) []string {
		return append([]string{"SPARK_LOCAL_IP=127.0.0.1", "SPARK_JARS=" + maven(t, strings.TrimSuffix(pom, ".xml"), filepath.Join("engines", pom))}, quiet...)
	}
	return engine{name: "Spark", version: version + ", Delta Lake " + delta,
		command: func(t *testing.T, s store) ([]string, []string) {
			return env(t), []string{interpreter(t), script("engines", "read.py"), "spark"}
		},
		snippet: func(t *testing.T, s store, text string) *process {
			return startWith(t, text, "the snippet for Spark", append(env(t), s.env...), interpreter(t), script("engines", "with_spark.py"))
		}}
}

// trinoVersion is the newest one that Maven has.
const trinoVersion = "476"

// trinoEnv is the environment of with_trino.py: a server with the Delta Lake connector
// only, and a JDK for it.
func trinoEnv(t *testing.T) []string {
	dir := installed(t, "trino", trinoVersion, func(t *testing.T, dir string) {
		sh(t, dir, nil, "mvn", "--batch-mode", "--quiet", "dependency:copy",
			"-Dartifact=io.trino:trino-server:"+trinoVersion+":tar.gz", "-DoutputDirectory="+dir)
		archive := filepath.Join(dir, "trino-server-"+trinoVersion+".tar.gz")
		whole := filepath.Join(dir, "whole") // its files are linked to each other across plugins
		if err := os.MkdirAll(filepath.Join(dir, "plugin"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(whole, 0o755); err != nil {
			t.Fatal(err)
		}
		sh(t, dir, nil, "tar", "-xzf", archive, "-C", whole, "--strip-components=1")
		for _, folder := range []string{"lib", filepath.Join("plugin", "delta-lake")} {
			if err := os.Rename(filepath.Join(whole, folder), filepath.Join(dir, folder)); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range []string{whole, archive} {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	})
	return append([]string{"TRINO_HOME=" + dir, "TRINO_JAVA=" + jdk(t, 24)}, quiet...)
}

// quiet is the environment of engines in Python: nothing is written beside the
// scripts, and two threads are enough.
var quiet = []string{"PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "POLARS_MAX_THREADS=2"}

// pythonEngine is a module of engines/, with the packages of its requirements.txt,
// or with these pins.
func pythonEngine(module string, pins ...string) func(t *testing.T, s store) (env, command []string) {
	return func(t *testing.T, s store) ([]string, []string) {
		interpreter := ""
		if len(pins) == 0 {
			interpreter = python(t, "engines")
		} else {
			interpreter = venv(t, "python-"+module, strings.Join(pins, "\n"))
		}
		return quiet, []string{interpreter, script("engines", "read.py"), module}
	}
}

// pythonSnippet runs a snippet as it is.
func pythonSnippet(interpreter func(t *testing.T) string) func(t *testing.T, s store, text string) *process {
	return func(t *testing.T, s store, text string) *process {
		path := filepath.Join(t.TempDir(), "snippet.py")
		write(t, path, text)
		return start(t, "the snippet", append(quiet, s.env...), interpreter(t), path)
	}
}
