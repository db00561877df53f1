//! `@detectXSS`: tokens of HTML5, judged where a browser would run script.
