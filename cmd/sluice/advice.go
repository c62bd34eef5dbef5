package main

import (
	"errors"
	"fmt"
	"strings"
)

// advised is an error together with what the user can do about it. The advice
// is printed below the error and is no part of its text.
type advised struct {
	err  error
	todo string
}

func (a *advised) Error() string { return a.err.Error() }
func (a *advised) Unwrap() error { return a.err }

// advise adds what to do about err.
func advise(err error, format string, args ...any) error {
	return &advised{err: err, todo: fmt.Sprintf(format, args...)}
}

// adviceOf is the advice nearest to the user, "" if there is none.
func adviceOf(err error) string {
	if a, ok := errors.AsType[*advised](err); ok {
		return a.todo
	}
	return ""
}

// usageError is a wrong flag, argument or setting that only the command itself
// could find: the same call cannot succeed later.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func isUsage(err error) bool {
	_, ok := errors.AsType[usageError](err)
	return ok
}

// each takes an error of errors.Join apart, so that each of them is printed with
// its own advice.
func each(err error) []error {
	if u, ok := err.(usageError); ok {
		err = u.error
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	var text []string
	for _, e := range joined.Unwrap() {
		all = append(all, each(e)...)
		text = append(text, e.Error())
	}
	if err.Error() != strings.Join(text, "\n") {
		return []error{err} // of fmt.Errorf, which has words of its own
	}
	return all
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}
