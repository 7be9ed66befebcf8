package millrace

// The published test vectors.

import (
	"encoding/hex"
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"lukechampine.com/blake3"
)

type vector struct {
	Name, DispatchKeys, Method, Path, Body, Header, Verdict string
	Keyring, Dispatch, CallbackID, AttemptRoot, AttemptKey  string
	Action, Text                                            string
	Keys                                                    []struct{ Kid, Secret string }
	Now                                                     int64
}

func section[T any](t *testing.T, name string) (found []T) {
	t.Helper()
	file, err := os.ReadFile("../../../../docs/protocol-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]json.RawMessage{}
	if err := json.Unmarshal(file, &sections); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(sections[name], &found); err != nil || len(found) == 0 {
		t.Fatal(name, err)
	}
	return found
}

func keyring(t *testing.T, text string) Keyring {
	t.Helper()
	keys, err := ParseKeyring(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKeyrings(t *testing.T) {
	for _, v := range section[vector](t, "keyrings") {
		keys := keyring(t, v.Text)
		if len(keys) != len(v.Keys) {
			t.Errorf("%q: %d keys", v.Text, len(keys))
		}
		for _, key := range v.Keys {
			if hex.EncodeToString(keys[key.Kid]) != key.Secret {
				t.Errorf("%q: %s", v.Text, key.Kid)
			}
		}
	}
	for _, text := range section[string](t, "invalidKeyrings") {
		if _, err := ParseKeyring(text); err == nil {
			t.Errorf("taken: %q", text)
		}
	}
}

// A function is given these keys; this shows that they come from the root as documented.
func TestDerivedKeys(t *testing.T) {
	for _, v := range section[vector](t, "keys") {
		dispatch := keyring(t, v.Dispatch)
		for kid, root := range keyring(t, v.Keyring) {
			derived := make([]byte, 32)
			blake3.DeriveKey(derived, "millrace v1 dispatch signing", root)
			if string(derived) != string(dispatch[kid]) {
				t.Error("dispatch key", kid)
			}
		}
		kid, _, _ := strings.Cut(v.CallbackID, ".")
		attemptRoot := make([]byte, 32)
		blake3.DeriveKey(attemptRoot, "millrace v1 attempt keys", keyring(t, v.Keyring)[kid])
		if hex.EncodeToString(attemptRoot) != v.AttemptRoot {
			t.Error("attempt root")
		}
		if hex.EncodeToString(mac(attemptRoot, v.CallbackID, nil)) != v.AttemptKey {
			t.Error("attempt key")
		}
	}
}

func TestDispatches(t *testing.T) {
	for _, name := range []string{"dispatch", "dispatchAccepted", "dispatchRefused"} {
		for _, v := range section[vector](t, name) {
			expected := Verdict(v.Verdict)
			if expected == "" {
				expected = Valid
			}
			now := time.UnixMilli(v.Now)
			if got := VerifyDispatch(keyring(t, v.DispatchKeys), v.Method, v.Path, []byte(v.Body), v.Header, now); got != expected {
				t.Errorf("%s: %s %s", name, v.Name, got)
			}
		}
	}
}

func TestCallbacks(t *testing.T) {
	for _, v := range section[vector](t, "callback") {
		key, _ := hex.DecodeString(v.AttemptKey)
		if got := SignCallback(key, v.Action, v.CallbackID, []byte(v.Body), time.UnixMilli(v.Now)); got != v.Header {
			t.Errorf("%s: %s", v.Action, got)
		}
	}
}

func TestRefusals(t *testing.T) {
	for method, status := range map[string]int{"PUT": 405, "POST": 401} {
		_, _, err := Receive(Keyring{}, httptest.NewRequest(method, "/", strings.NewReader("{}")))
		if refused, ok := err.(*Refused); !ok || refused.Status != status {
			t.Error(method, err)
		}
	}
}
