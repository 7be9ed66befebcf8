// Package millrace is Millrace's wire protocol for functions in Go (docs/protocol.md): it checks dispatches and signs
// callbacks.
package millrace

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"lukechampine.com/blake3"
)

const (
	tolerance    = 300 * time.Second
	grace        = 30 * time.Second
	maxBodyBytes = 4 << 20
)

var (
	hex32    = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	keyID    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	unixTime = regexp.MustCompile(`^[1-9][0-9]{0,11}$`)
)

// Verdict on a signature: "valid", "invalid_signature" or "stale_timestamp".
type Verdict string

const (
	Valid            Verdict = "valid"
	InvalidSignature Verdict = "invalid_signature"
	StaleTimestamp   Verdict = "stale_timestamp"
)

// Keyring holds dispatch keys by their ids. All of them verify.
type Keyring map[string][]byte

// ParseKeyring reads `kid:hex[,kid:hex…]`, or 64 hex digits alone. Its error never holds the text.
func ParseKeyring(text string) (Keyring, error) {
	if bare := strings.TrimSpace(text); hex32.MatchString(bare) {
		text = "k0:" + bare
	}
	keys := Keyring{}
	for _, entry := range strings.Split(text, ",") {
		kid, secret, _ := strings.Cut(strings.TrimSpace(entry), ":")
		if _, known := keys[kid]; known || !keyID.MatchString(kid) || !hex32.MatchString(secret) {
			return nil, errors.New("not a keyring: kid:hex64[,kid:hex64...]")
		}
		keys[kid], _ = hex.DecodeString(secret)
	}
	return keys, nil
}

// VerifyDispatch checks a Millrace-Signature. The path is as in the request line, with its query; the body is the raw bytes.
func VerifyDispatch(keys Keyring, method, path string, body []byte, header string, now time.Time) Verdict {
	items := parseItems(header)
	key, known := keys[items["kid"]]
	if !known || !unixTime.MatchString(items["t"]) || !hex32.MatchString(items["v1"]) {
		return InvalidSignature
	}
	given, _ := hex.DecodeString(items["v1"])
	expected := mac(key, items["t"]+"\n"+method+"\n"+path+"\n", body)
	if subtle.ConstantTimeCompare(expected, given) != 1 {
		return InvalidSignature
	}
	t, _ := strconv.ParseInt(items["t"], 10, 64)
	if age := now.Unix() - t; age > int64(tolerance.Seconds()) || -age > int64(tolerance.Seconds()) {
		return StaleTimestamp
	}
	return Valid
}

// Unknown items are for later versions; one that is there twice makes all of it worthless.
func parseItems(header string) map[string]string {
	items := map[string]string{}
	if len(header) > 512 {
		return items
	}
	for _, item := range strings.Split(header, ",") {
		name, value, found := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		if _, known := items[name]; known || !found {
			return map[string]string{}
		}
		items[name] = strings.TrimSpace(value)
	}
	return items
}

// SignCallback makes the Millrace-Signature of one callback: for this action with this body, for five minutes.
func SignCallback(attemptKey []byte, action, callbackID string, body []byte, now time.Time) string {
	t := strconv.FormatInt(now.Unix(), 10)
	return fmt.Sprintf("t=%s,v1=%x", t, mac(attemptKey, t+"\n"+action+"\n"+callbackID+"\n", body))
}

func mac(key []byte, text string, body []byte) []byte {
	hash := blake3.New(32, key)
	io.WriteString(hash, text)
	hash.Write(body)
	return hash.Sum(nil)
}

// Refused is a dispatch that is not taken.
type Refused struct {
	Status  int
	Code    string
	Message string
}

func (r *Refused) Error() string { return r.Message }

// Answer tells the dispatcher.
func (r *Refused) Answer(w http.ResponseWriter) {
	if r.Status == http.StatusUnauthorized {
		// A job must not be lost to a key that was mixed up or a clock that is wrong.
		w.Header().Set("Millrace-No-Retry", "false")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.Status)
	json.NewEncoder(w).Encode(map[string]string{"error": r.Message, "code": r.Code})
}

// Job is the body of a dispatch.
type Job struct {
	ID          int64           `json:"job_id"`
	Kind        string          `json:"kind"`
	Args        json.RawMessage `json:"args"`
	Attempt     int             `json:"attempt"`
	MaxAttempts int             `json:"max_attempts"`
	Queue       string          `json:"queue"`
	Deadline    time.Time       `json:"deadline"`
	CallbackID  string          `json:"callback_id"`
	CallbackURL string          `json:"callback_url"`
	Progress    *Progress       `json:"progress"`
}

// Progress of an attempt; its metadata is a checkpoint for the next.
type Progress struct {
	Percent  float64        `json:"percent"`
	Message  string         `json:"message,omitempty"`
	Metadata map[string]any `json:"metadata,omitempty"`
}

// Receive checks a request and reads its body. Callback is nil in sync mode: then the answer is the end of the attempt.
func Receive(keys Keyring, r *http.Request) (*Job, *Callback, error) {
	if r.Method != http.MethodPost {
		return nil, nil, &Refused{http.StatusMethodNotAllowed, "method_not_allowed", "Dispatches come as POST"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBodyBytes))
	if err != nil {
		return nil, nil, &Refused{http.StatusRequestEntityTooLarge, "body_too_large", "The body is too large, or broke off"}
	}
	// Several headers of a name are one list. RequestURI is what was sent; r.URL has been decoded.
	header := strings.Join(r.Header.Values("Millrace-Signature"), ", ")
	if verdict := VerifyDispatch(keys, r.Method, r.RequestURI, body, header, time.Now()); verdict != Valid {
		return nil, nil, &Refused{http.StatusUnauthorized, string(verdict), "Not signed by a known key, or too long ago"}
	}
	job := &Job{}
	if err := json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), job); err != nil || job.ID == 0 || job.Kind == "" {
		return nil, nil, &Refused{http.StatusBadRequest, "invalid_request", "The body is not a dispatch"}
	}
	if job.CallbackID == "" {
		return job, nil, nil
	}
	url, found := strings.CutSuffix(job.CallbackURL, "/"+job.CallbackID+"/complete")
	key := r.Header.Get("Millrace-Attempt-Key")
	if !found || !hex32.MatchString(key) {
		return nil, nil, &Refused{http.StatusBadRequest, "invalid_request", "No way to call back"}
	}
	callback := &Callback{ID: job.CallbackID, URL: url + "/" + job.CallbackID}
	callback.key, _ = hex.DecodeString(key)
	callback.giveUpAt.Store(job.Deadline.Add(grace).UnixMilli())
	return job, callback, nil
}

// Callback is what a function says of its attempt.
type Callback struct {
	ID string
	// URL has the callback id at its end; the action comes after it.
	URL      string
	key      []byte
	giveUpAt atomic.Int64
}

// Answer of the ingress. Status is 0 if nothing came in time but what might have passed.
type Answer struct {
	Status  int
	State   string  `json:"state"`
	Code    string  `json:"code"`
	Cancel  bool    `json:"cancel"`
	Granted float64 `json:"timeout_seconds"`
}

// Complete ends the attempt with a result.
func (c *Callback) Complete(ctx context.Context, payload any) (Answer, error) {
	return c.send(ctx, "complete", map[string]any{"payload": payload})
}

// Fail ends the attempt as failed; for good unless it is retryable.
func (c *Callback) Fail(ctx context.Context, message string, retryable bool) (Answer, error) {
	return c.send(ctx, "fail", map[string]any{"error": message, "retryable": retryable})
}

// Snooze ends the attempt: no failure, and the job comes again later.
func (c *Callback) Snooze(ctx context.Context, again time.Duration) (Answer, error) {
	return c.send(ctx, "fail", map[string]any{"snooze_seconds": again.Seconds()})
}

// Heartbeat says that the attempt may be silent for so long from now. An answer with Cancel means: stop working.
func (c *Callback) Heartbeat(ctx context.Context, silence time.Duration, progress *Progress) (Answer, error) {
	body := map[string]any{"timeout_seconds": silence.Seconds()}
	if progress != nil {
		body["progress"] = progress
	}
	answer, err := c.send(ctx, "heartbeat", body)
	if answer.Status == http.StatusOK {
		c.giveUpAt.Store(time.Now().Add(silence + grace).UnixMilli())
	}
	return answer, err
}

// Sent again after what may pass: network errors, 408, 429 and 5xx; signed anew each time.
func (c *Callback) send(ctx context.Context, action string, fields map[string]any) (Answer, error) {
	body, err := json.Marshal(fields)
	if err != nil {
		return Answer{}, err
	}
	for delay := 250 * time.Millisecond; ; delay = min(2*delay, 30*time.Second) {
		answer, wait := c.post(ctx, action, body)
		if s := answer.Status; s != 0 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests {
			return answer, nil
		}
		wait = max(wait, delay/2+rand.N(delay/2))
		if time.Now().Add(wait).UnixMilli() >= c.giveUpAt.Load() {
			return Answer{}, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	}
}

// The signature is for the host that the dispatch named, so no redirect is followed.
var client = &http.Client{
	Timeout:       20 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (c *Callback) post(ctx context.Context, action string, body []byte) (answer Answer, wait time.Duration) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/"+action, bytes.NewReader(body))
	if err != nil {
		return
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Millrace-Signature", SignCallback(c.key, action, c.ID, body, time.Now()))
	response, err := client.Do(request)
	if err != nil {
		return
	}
	defer response.Body.Close()
	json.NewDecoder(io.LimitReader(response.Body, maxBodyBytes)).Decode(&answer)
	answer.Status = response.StatusCode
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
	return answer, time.Duration(seconds) * time.Second
}
