// A function in Go, on net/http: doubles numbers, in callback and sync mode.
//
//	MILLRACE_DISPATCH_KEYS=… PORT=3001 go run .
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"millrace.example/receiver/millrace"
)

// errNoRetry: the job is hopeless, however many attempts are left.
type errNoRetry struct{ message string }

func (e errNoRetry) Error() string { return e.message }

// errSnooze: not now, again in so long.
type errSnooze struct{ again time.Duration }

func (e errSnooze) Error() string { return "again in " + e.again.String() }

type args struct {
	N      float64 `json:"n"`
	Fail   string  `json:"fail"`
	Snooze float64 `json:"snooze"`
}

func double(job *millrace.Job, canSnooze bool) (any, error) {
	var a args
	if err := json.Unmarshal(job.Args, &a); err != nil {
		return nil, errNoRetry{"the arguments are not right: " + err.Error()}
	}
	switch {
	case a.Fail != "":
		return nil, errNoRetry{a.Fail}
	case a.Snooze > 0 && canSnooze && (job.Progress == nil || job.Progress.Metadata["snoozed"] == nil):
		return nil, errSnooze{time.Duration(a.Snooze * float64(time.Second))}
	}
	return map[string]float64{"double": 2 * a.N}, nil
}

var kinds = map[string]bool{"double_go": true, "double_go_sync": true}

// Callback mode: the request was answered long ago.
func work(job *millrace.Job, callback *millrace.Callback) {
	ctx := context.Background()
	// Keeps the attempt alive, tells how far it is, and leaves a checkpoint to the next attempt.
	progress := &millrace.Progress{Percent: 50, Metadata: map[string]any{"snoozed": true}}
	callback.Heartbeat(ctx, time.Minute, progress)
	result, err := double(job, true)
	var snooze errSnooze
	var noRetry errNoRetry
	switch {
	case err == nil:
		callback.Complete(ctx, result)
	case errors.As(err, &snooze):
		callback.Snooze(ctx, snooze.again)
	default:
		callback.Fail(ctx, err.Error(), !errors.As(err, &noRetry))
	}
}

// Sync mode: the answer ends the attempt.
func answer(w http.ResponseWriter, job *millrace.Job) {
	result, err := double(job, false)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		var noRetry errNoRetry
		w.Header().Set("Millrace-No-Retry", strconv.FormatBool(errors.As(err, &noRetry)))
		w.WriteHeader(http.StatusInternalServerError)
		result = map[string]string{"error": err.Error()}
	}
	json.NewEncoder(w).Encode(result)
}

func main() {
	keys, err := millrace.ParseKeyring(os.Getenv("MILLRACE_DISPATCH_KEYS"))
	if err != nil {
		log.Fatal(err)
	}
	// Not a ServeMux: it would redirect paths that it finds untidy, and dispatches follow no redirect.
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		job, callback, err := millrace.Receive(keys, r)
		var refused *millrace.Refused
		if err == nil && !kinds[job.Kind] {
			err = &millrace.Refused{Status: http.StatusNotImplemented, Code: "unknown_kind", Message: "No such kind here (yet)"}
		}
		switch {
		case errors.As(err, &refused):
			refused.Answer(w)
		case callback == nil:
			answer(w, job)
		default:
			go work(job, callback)
			w.WriteHeader(http.StatusAccepted)
		}
	})
	port := os.Getenv("PORT")
	if port == "" {
		port = "3001"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("functions on http://%s\n", listener.Addr())
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice == 0 {
		go func() { // ends with whoever started it
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	log.Fatal(http.Serve(listener, handler))
}
