package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxPropertiesFile bounds what is read as a properties file, in bytes: Kafka's
// own commented server.properties has 7 kB.
const maxPropertiesFile = 1 << 20

// pair is one line of a properties file.
type pair struct {
	name, value string
	line        int // the first line is 1
}

func readProperties(path string) ([]pair, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPropertiesFile {
		return nil, fmt.Errorf("%s: larger than %d bytes, so hardly a properties file", path, maxPropertiesFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pairs, err := parseProperties(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pairs, nil
}

// parseProperties reads the format of java.util.Properties.load, which is what
// server.properties is in: # and ! comments, "=" ":" or blank between name and
// value, a backslash that continues a line or escapes a character. The text is
// taken as UTF-8.
func parseProperties(text string) ([]pair, error) {
	var pairs []pair
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	for i := 0; i < len(lines); i++ {
		first := i + 1
		line := strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for continues(line) {
			line = line[:len(line)-1]
			i++
			if i == len(lines) {
				break
			}
			line += strings.TrimLeft(lines[i], " \t\f")
		}
		name, value := splitProperty(line)
		p := pair{line: first}
		var err error
		if p.name, err = unescapeProperty(name); err == nil {
			p.value, err = unescapeProperty(value)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", first, err)
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// continues reports whether a line ends in an odd number of backslashes.
func continues(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// splitProperty cuts a logical line at the first unescaped separator.
func splitProperty(line string) (name, value string) {
	end := 0
	for end < len(line) && !strings.ContainsRune("=: \t\f", rune(line[end])) {
		if line[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(line))
	value = strings.TrimLeft(line[end:], " \t\f")
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], " \t\f")
	}
	return line[:end], value
}

var errUnicodeEscape = errors.New(`\u needs four hexadecimal digits`)

func unescapeProperty(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if i+4 >= len(s) {
				return "", errUnicodeEscape
			}
			code, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil {
				return "", errUnicodeEscape
			}
			b.Write(utf8.AppendRune(nil, rune(code)))
			i += 4
		default: // the character itself, also one that needs no escape
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}
