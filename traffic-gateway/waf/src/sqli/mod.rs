//! `@detectSQLi`: tokens of SQL, folded into a fingerprint.
