"""The published test vectors: python3 -m unittest, in this folder."""

import json
import unittest
from pathlib import Path

from blake3 import blake3

from millrace_receiver import Refused, parse_keyring, receive, sign_callback, verify_dispatch

VECTORS = json.loads((Path(__file__).parents[3] / "docs" / "protocol-vectors.json").read_text(encoding="utf-8"))


class Vectors(unittest.TestCase):
    def each(self, section):
        self.assertTrue(VECTORS[section])
        return VECTORS[section]

    def verdict(self, v):
        keys = parse_keyring(v["dispatchKeys"])
        return verify_dispatch(keys, v["method"], v["path"], v["body"].encode(), v["header"], v["now"] / 1000)

    def test_keyrings(self):
        for vector in self.each("keyrings"):
            keys = parse_keyring(vector["text"])
            self.assertEqual([{"kid": kid, "secret": key.hex()} for kid, key in keys.items()], vector["keys"])
        for text in self.each("invalidKeyrings"):
            self.assertRaises(ValueError, parse_keyring, text)

    def test_derived_keys(self):
        """A function is given these keys; this shows that they come from the root as documented."""
        for vector in self.each("keys"):
            roots, dispatch = parse_keyring(vector["keyring"]), parse_keyring(vector["dispatch"])
            for kid, root in roots.items():
                self.assertEqual(blake3(root, derive_key_context="millrace v1 dispatch signing").digest(), dispatch[kid])
            root = next(iter(roots.values()))
            attempt_root = blake3(root, derive_key_context="millrace v1 attempt keys").digest()
            self.assertEqual(attempt_root.hex(), vector["attemptRoot"])
            self.assertEqual(blake3(vector["callbackId"].encode(), key=attempt_root).hexdigest(), vector["attemptKey"])

    def test_dispatches(self):
        for section in ("dispatch", "dispatchAccepted"):
            for vector in self.each(section):
                self.assertEqual(self.verdict(vector), "valid", vector)
        for vector in self.each("dispatchRefused"):
            self.assertEqual(self.verdict(vector), vector["verdict"], vector)

    def test_callbacks(self):
        for v in self.each("callback"):
            header = sign_callback(v["attemptKey"], v["action"], v["callbackId"], v["body"].encode(), v["now"] / 1000)
            self.assertEqual(header, v["header"], v)

    def test_refusals(self):
        for method, status in (("PUT", 405), ("POST", 401)):
            with self.assertRaises(Refused) as raised:
                receive({}, method, "/", {}, b"{}")
            self.assertEqual(raised.exception.status, status)


if __name__ == "__main__":
    unittest.main()
