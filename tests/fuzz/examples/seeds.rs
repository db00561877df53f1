//! Writes seeds for every fuzz target into a directory, from the project's own golden cases and rules:
//! `cargo run --example seeds -- DIRECTORY`.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use gatehouse_fuzz::CHOICES;
use gatehouse_waf::body::{BodyProcessor, processor_for};
use gatehouse_waf::golden::{self, Request};

/// An answer, so that those phases are reached.
const ANSWER: &[u8] = b"\n====\nHTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nLocation: /a\r\n\r\n\
    <html>stack trace: at shop.java:12</html>";

/// Every word of the language in a few directives, beside those that the rule files use.
const DIRECTIVES: &[&str] = &[
    "Include more.conf\nIncludeOptional none*.conf\n",
    "SecMarker END\nSecRuleRemoveById 1 5-9\nSecRuleUpdateTargetByTag x \"ARGS|!ARGS:a|!REQUEST_COOKIES:/^x/\"\n",
    "SecAction \"id:1,phase:5,pass,setvar:'tx.a=%{ARGS.a}',setvar:!tx.b,severity:'CRITICAL',expirevar:x\"\n",
    "SecRequestBodyLimit 100\nSecArgumentSeparator ;\nSecResponseBodyMimeType text/html a/b\nSecCollectionTimeout 600\n",
    "SecRule &ARGS|XML:/*|TX:/^a\\/b/ '!@rx (?i)\\bx\\'y' \\\n  \"id:7,chain,multiMatch,skipAfter:E\"\nSecRule ARGS \"a\"\nSecMarker E\n",
    "SecRule ARGS \"@pmFromFile words.data\" \"id:8,deny,redirect:'http://%{tx.0}/',ctl:ruleRemoveTargetById=7;ARGS:b\"\n",
];

/// Bodies that a schema judges.
const BODIES: &[&str] = &[
    "{\"a\":{\"a\":[1,\"x\",null,[2]],\"b\":1},\"c\":\"2026-01-01T00:00:00Z\",\"xyz\":\"abc\",\"n\":9}",
    "{\"a\":1,\"\\u0061\":2,\"b\":[1e400,-0.0,01],\"t\":\"\\ud800\"}",
    "[[[[{\"aaa\":\"aaaaaaaaaaaaaaaaab\"}]]],[1,1],18446744073709551616]",
];

/// Registrations of endpoints, as services write them.
const REGISTRATIONS: [&str; 4] = [
    "10.0.0.7:9001",
    "10.0.0.7:9001 weight=3 zone=a",
    "[2001:db8::7]:9001 build=42 weight=1000",
    "orders:9001 weight=0",
];

/// What callers prove themselves with: the signature, a digest or `Authorization`, and what is covered or the parameters.
const CALLS: &[&str] = &[
    "sig1=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:\nsha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:\n\
     sig1=(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\");created=1618884473;expires=1618884500;nonce=\"n\";keyid=\"shop/1\";alg=\"hmac-sha256\";tag=\"t\"",
    "a=:AAAA:\nBasic c2hvcDpzZWNyZXQ=\na=(\"@target-uri\" \"@scheme\" \"x\");created=1",
    "[1]\nApiKey shop.secret\napp_key=shop&method=orders.list&timestamp=2026-11-22+12%3A30%3A00&v=2.0&sign_method=md5&session=t&sign=0123456789ABCDEF0123456789ABCDEF",
    "\nBearer a.b.c\neyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJhIiwiYXVkIjpbImIiXSwiZXhwIjoxLCJuYmYiOjB9.AAAA",
];

/// Hops of both versions, up to their signatures.
const HOPS: &[&str] = &[
    "v=2,kid=\"a\",rid=\"018bcfe568000123456789abcdef0123\",client=\"192.0.2.1:4711\",left=29990,edge=\"edge-1\"",
    "v=2,kid=\"a\",rid=\"018bcfe568000123456789abcdef0123\",age=12,client=\"[2001:db8::1]:4711\",https,tls=\"1.3\",\
     subject=%\"CN=B%c3%bccher\",fp=\"9f86d081\",path=\"/a\\\"b\",left=1,edge=\"e\",held",
    "v=1, kid=\"a\", exp=1700000010000, rid=\"018bcfe568000123456789abcdef0123\", client=\"192.0.2.1:4711\", scheme=https, \
     tls=\"1.3\", subject=%\"CN=shop\", fp=\"9f86d081\", path=\"/orders/7\", left=29990, edge=\"edge-1\", held",
];

/// Answers of services, or their bodies alone.
const SERVICE_ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nset-cookie: a=b\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 5, 5\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    "3;name=\"a b\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-sum: 7\r\n\r\n",
    "1\r\na\r\n0\r\n\r\n",
];

/// What a split looks at, a target, and the value of a cookie or lines of uids.
const SPLIT: &[&str] = &[
    "cookie:uid\n/?city=Hangzhou\nuid=4711; theme=dark",
    "query:city\n/?a=1&city=Hangzhou\nx",
    "x\n\n# beta\n4711\nx-9",
];

/// Paths of fields, and the answer they are hidden in.
const ANSWERS: &[&str] = &[
    "a.*.b **.card list.0\n{\"a\":[{\"b\":\"ann@example.com\",\"card\":4111111111111111}],\"list\":[1,-2.5e3,true,null]}",
    "**.*.x\n [ {\"\\u0073ecret\" : [\"\\ud834\\udd1e\", \"ä\"] , \"x\":{\"y\":{\"x\":false}}} ]",
];

/// A text, template or expression, and JSON that it is put together with.
const AGGREGATES: &[&str] = &[
    "{\"a\": {{ request.a }}, \"b\": \"{{ caller }}\"}\n{\"a\": [1, null, \"x\\\"y\"]}",
    "[{% for x in request %}{{ x.id | default(1) }}{% if not loop.last %},{% endif %}{% endfor %}]\n[{\"id\": 1.5}, {}]",
    "{% set x = request | map(attribute='a') | join(',') %}{{ x }}\n[{\"a\": 1}, {\"a\": \"b\"}]",
    "request.a[0] ~ (caller if request is defined else 'x') | upper\n{\"a\": [true]}",
    "\"}],\"admin\":true\n\"\\u0001\\u0002\\\\\"",
];

/// Batches of both forms.
const BATCHES: &[&str] = &[
    r#"[{"id":"a","method":"GET","path":"/orders/7?x=%20","headers":{"accept-language":"de"}},{"id":2,"method":"POST","path":"/a","body":{"n":[1.5e3,"\u00fc\n",null]}}]"#,
    r#" [ {"method":"PUT","path":"/a","headers":{"Content-Type":"text/plain"},"body":"b\"c"} , {"path":"/","method":"DELETE"} ] "#,
    "#PUBLIC#method=orders.list&fields=id\r\n-S-\r\nid=7\r\n-S-\r\nN\r\n-S-\r\nmethod=stock.get&%69d=8",
    "{;}\nmethod=a&x=1{;}method=b&session=t{;}",
];

/// Where seeds go.
struct Seeds {
    root: PathBuf,
    count: usize,
}

impl Seeds {
    /// Writes a seed whose choices are all 0, and one with other choices.
    fn add(&mut self, target: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        self.write(target, &[bytes, &[0; CHOICES]].concat())?;
        let choices = hash(bytes).to_le_bytes();
        self.write(target, &[bytes, &choices].concat())
    }

    fn write(&mut self, target: &str, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let folder = self.root.join(target);
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{:016x}", hash(bytes)));
        if !file.exists() {
            fs::write(file, bytes)?;
            self.count += 1;
        }
        Ok(())
    }

    fn request(&mut self, request: &Request) -> Result<(), Box<dyn Error>> {
        let message = request.to_bytes();
        self.add("transaction", &message)?;
        self.write("transaction", &[&message, ANSWER, &hash(&message).to_le_bytes()].concat())?;
        let query = request.target.split(|byte| *byte == b'?').nth(1).unwrap_or_default();
        let mut content_type = &b""[..];
        for (name, value) in &request.fields {
            match name.to_ascii_lowercase().as_slice() {
                b"content-type" => content_type = value,
                b"cookie" => self.values("query_and_cookies", value)?,
                _ => {}
            }
        }
        self.values("query_and_cookies", query)?;
        match processor_for(content_type) {
            Some(BodyProcessor::UrlEncoded) => self.values("body_urlencoded", &request.body),
            Some(BodyProcessor::Json) => self.values("body_json", &request.body),
            Some(BodyProcessor::Xml) => self.values("body_xml", &request.body),
            Some(BodyProcessor::Multipart) => {
                self.add("body_multipart", &[content_type, b"\n", &request.body].concat())
            }
            None => Ok(()),
        }
    }

    /// A text with values in it: a seed for its own target and for those that look at values.
    fn values(&mut self, target: &str, text: &[u8]) -> Result<(), Box<dyn Error>> {
        self.add(target, text)?;
        for value in text.split(|byte| b"&;\n".contains(byte)).filter(|value| (4..400).contains(&value.len())) {
            for target in ["decode", "detect", "transformations"] {
                self.add(target, value)?;
            }
            let end = value.len().min(8);
            self.add("operators", &[&value[..end], b"\n", value].concat())?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).ok_or("where to? seeds DIRECTORY")?;
    let mut seeds = Seeds { root: PathBuf::from(root), count: 0 };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for file in files(&repository.join("tests/golden/waf"), "http")? {
        let text = fs::read_to_string(&file)?;
        seeds.write("golden", text.as_bytes())?;
        for case in golden::read(&text)? {
            seeds.request(&case.request)?;
        }
    }
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in files(&repository.join("deploy/config/edge/waf"), "conf")?.into_iter().chain([fuzz.join("rules.conf")])
    {
        rules(&mut seeds, &fs::read_to_string(file)?)?;
    }
    for directives in DIRECTIVES {
        seeds.write("seclang", directives.as_bytes())?;
    }
    for body in BODIES {
        seeds.add("body_schema", body.as_bytes())?;
    }
    for call in CALLS {
        seeds.add("credentials", call.as_bytes())?;
    }
    for hop in HOPS {
        seeds.add("hop", hop.as_bytes())?;
        // The choice of the first version.
        seeds.write("hop", &[hop.as_bytes(), &[1; CHOICES]].concat())?;
    }
    for answer in SERVICE_ANSWERS {
        seeds.add("service_answers", answer.as_bytes())?;
    }
    for call in SPLIT {
        seeds.add("splits", call.as_bytes())?;
    }
    for aggregate in AGGREGATES {
        seeds.add("aggregate", aggregate.as_bytes())?;
    }
    for registration in REGISTRATIONS {
        seeds.add("registry", registration.as_bytes())?;
    }
    for answer in ANSWERS {
        seeds.add("json_fields", answer.as_bytes())?;
    }
    for batch in BATCHES {
        seeds.add("batch", batch.as_bytes())?;
    }
    println!("{} seeds in {}", seeds.count, seeds.root.display());
    Ok(())
}

/// Directives one by one, since a fuzzer changes small texts best, and patterns as lines of lists and as operators.
fn rules(seeds: &mut Seeds, text: &str) -> Result<(), Box<dyn Error>> {
    for directive in
        text.split("\n\n").flat_map(|block| block.split("\nSec").map(|text| text.trim_start_matches("Sec")))
    {
        if directive.starts_with('#') || directive.trim().is_empty() {
            continue;
        }
        seeds.write("seclang", format!("Sec{directive}\n").as_bytes())?;
        if let Some((_, behind)) = directive.split_once("\"@rx ")
            && let Some((pattern, _)) = behind.split_once('"')
        {
            seeds.add("plain_lists", format!("{pattern}\nword\n").as_bytes())?;
            seeds.add("operators", format!("{pattern}\n/a/b.php?c=<script>").as_bytes())?;
        }
    }
    Ok(())
}

/// The files of a directory and those below it that have this ending.
fn files(directory: &Path, ending: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, ending)?);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
