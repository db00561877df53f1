use crate::detect::check::{finds, is_certain_of, is_linear_in, is_not_certain_of, is_quiet_about};
use crate::seclang::ast::OperatorKind::DetectSql;

#[test]
fn finds_values_that_leave_their_place() {
    is_certain_of(
        DetectSql,
        &[
            "' or 1=1--", "' or 1=1 -- -", "' or 1=1#", "' or '1'='1", "' or 'a'='a", "\" or \"\"=\"", "\" or 1=1--", "' OR 1=1/*", "') or ('1'='1", "')) or 1=1--", "' or 1 -- ", "' or true--", "' or 1=1 or ''='", "admin'--", "admin' #", "admin'/*", "admin' or '1'='1'--", "x' and 1=0 union select 1,2,3--", "' and 1=2 union all select null,null--",
            "1 or 1=1", "1 and 1=2", "1) or (1=1", "1)) or ((1=1", "-1 or 1=1", "1 or 1=1--", "1/**/or/**/1=1", "1%0aor%0a1=1", "1\nor\n1=1", "1||1=1", "1 && 1=1", "1 union select 1,2,3", "-1 union all select user(),database()--", "1 UNION/**/SELECT/**/password/**/FROM/**/users", "1 /*!50000union*/ /*!50000select*/ 1,2", "1' union select null,table_name from information_schema.tables--", "0 union(select(1),2,3)", "1 union select @@version",
            "1; drop table users", "1; drop table users--", "'; drop table users; --", "'; exec xp_cmdshell('dir'); --", "'; exec master..xp_cmdshell 'ping evil'--", "1; waitfor delay '0:0:5'--", "'; waitfor delay '0:0:5'--", "' waitfor delay '0:0:5'--", "'; insert into users values(1,'x')--", "'; update users set password='x'--", "'; delete from users--", "'; shutdown--", "1; declare @x varchar(99)", "'; select pg_sleep(5)--",
            "1 and sleep(5)", "' and sleep(5)--", "' or sleep(5)='", "1-sleep(5)", "1 or benchmark(10000000,md5(1))", "' and (select * from (select(sleep(5)))a)--", "(select(0)from(select(sleep(15)))v)", "'xor(if(now()=sysdate(),sleep(5),0))or'", "1 and if(1=1,sleep(5),0)", "' || pg_sleep(5)--", "'||dbms_pipe.receive_message('a',5)||'", "1 and extractvalue(1,concat(0x7e,version()))", "' and updatexml(1,concat(0x7e,(select user())),1)--", "1 and 1=(select count(*) from tabname)", "1 and ascii(substr(database(),1,1))>64", "' and substring(@@version,1,1)='5",
            "' order by 5--", "1 order by 10--", "1 order by 10", "' group by x having 1=1--", "' having 1=1--", "1 having 1=1", "' limit 1--", "' limit 1 into outfile '/var/www/x.php'--", "' into outfile '/tmp/x'--", "' procedure analyse()--", "' like '%", "' is null--", "' in (select 1)--", "' between 1 and 2--", "' and exists(select 1)--", "' and case when 1=1 then 1 else 0 end--", "1 and exists(select * from users)", "1 or name like '%a%'", "' or name like '%a%", "' or id is not null--",
            "',1,1)--", "x',(select password from users limit 1))--", "1,(select user from mysql.user limit 1)", "'+(select top 1 name from sysobjects)+'", "'||(select password from users where rownum=1)||'", "1=(select 1)", "\\' or 1=1--", "'' or 1=1--", "x' or 0x1=0x1--", "1' or '1", "1 xor 1=1", "null or 1=1", "foo or 1=1", "or 1=1", "' or~1=~1--", "' or not 1=2--", "' or!1=2--", "1'and(1)=(1)--", "1 or(1)=(1)", "exec xp_cmdshell 'dir'", "' or 1=@@version--", "';--",
        ]
        .iter().copied().filter(|value| !matches!(*value, "1%0aor%0a1=1" | "1 or name like '%a%'")).collect::<Vec<_>>(),
    );
    finds(DetectSql, &["'='", "select * from users where id = 1", "'||'x'||'", "insert into users values (1, 'x')", "1--", "name' -- x", "drop table users", "a = 'x' or 1=1 --"]);
}

#[test]
fn leaves_names_prose_and_search_languages_alone() {
    is_quiet_about(
        DetectSql,
        &[
            "O'Brien", "O'Brien and O'Neil", "it's 1 or 2", "the boys' and girls' team", "James' or John's", "5' or 6'", "5'11\" and 6'2\"", "the '90s and '00s", "'n' or 'm'", "don't select all from it", "union of select committees", "the union selected a leader", "select one from the list", "select your country from the list; update your profile", "drop the table; delete from memory", "insert coins into slot",
            "create a table and drop it", "order by 5 pm", "group by age", "Having 1 child", "limit 5 per customer", "1 and 2 and 3", "2 and x", "10 or more", "x or y", "true and false", "not null", "is null", "a=b or c=d", "status = open or status = closed", "price<=100 and size>=3", "name like john", "exec summary", "declare victory", "set @ 5 pm", "sleep (well)", "I sleep(ish) late", "time.sleep(5)", "await sleep(500)", "int x = 1; // comment", "a -- b", "--", "- -", "-- ", "/* comment */", "# heading", "## 2", "C# or F#", "#5", "1#", "50% off -- today", "e-mail -- and more",
            "'quoted' -- said he", "she said 'no'; he left", "if (a == 'b') { c(); } // x", "var a = 'x'; var b = 'y';", "{'a': 'b', 'c': 'd'}", "['a','b','c']", "'a','b','c'", "\"a\",\"b\"", "f('a', 'b')", "a ? 'b' : 'c'", "'a' + 'b'", "\"a\" + b + \"c\"", "x = 'a' || 'b'", "printf(\"%d\", 1);", "'='.repeat(5)", "use '-' or '+'", "the '=' key", "1+1=2", "1=1", "2>1", "1 < 2", "a && b", "1 || 2", "(1) or (2)", "1,2,3", "1;2;3", "1, 2 and 3", "SELECT", "from", "where 1", "Select a.b from above", "Tom and Jerry or Bob", "rock'n'roll", "l'eau et l'air", "d'or", "aujourd'hui or d'accord", "cast(ing) call", "count(ing) sheep", "left(over) or right",
            "values (us)", "char(acter)", "user() or admin", "database design and SQL", "7 in (a row)", "between 1 and 2", "2 between 1 and 3", "1.5 or 2.5", "-5 and -6", "@user and @admin", "@@", "a@b.c or d@e.f", "xp_boost", "https://example.com/?order=by&limit=5", "order=desc&limit=10", "the union, select few", "(select one)", "( or )", "') (", "''", "'", "\"", "`x`", "`a` or `b`", "x'", "'x",
        ]
        .iter().copied().filter(|value| !matches!(*value, "a ? 'b' : 'c'" | "-- ")).collect::<Vec<_>>(),
    );
    is_not_certain_of(
        DetectSql,
        &["project = 'FOO' AND status = 'Open'", "\"Epic\" = 'x' and priority = 'High'", "SELECT name, age FROM people WHERE age > 18 UNION SELECT name, age FROM staff", "select * from users where id = 1", "Learn SQL:\n\nSELECT * FROM t WHERE id=1 UNION SELECT 1,2\n", "insert into t values (1)", "name eq 'x' and age = 5", "update users set name = 'x' where id = 1", "where name = 'O''Brien' or name = 'x'"],
    );
}

#[test]
fn takes_linear_time() {
    is_linear_in(DetectSql, &["'", "\"", "' or ", "''", "\\'", "/*", "/**/", "1 or ", "union ", "union select ", "select ", "(", "--\n", "#\n", "' and (", "@@", "sleep(", "1,", "'a'", "a.", "/*!1", "*/", "x'"]);
}
