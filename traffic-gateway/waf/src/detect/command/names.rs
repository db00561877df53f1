//! Names of commands, sorted, and where they are installed.

/// Commands whose names are no words of a language.
pub(super) const STRONG: &[&[u8]] = &[
    b"adduser", b"arch", b"arp", b"attrib", b"awk", b"base32", b"base64", b"bash", b"bcdedit", b"bitsadmin",
    b"blkid", b"busybox", b"bzcat", b"cacls", b"certutil", b"chgrp", b"chmod", b"chown", b"chroot", b"cmd",
    b"cmd.exe", b"cp", b"crontab", b"cscript", b"csh", b"curl", b"dash", b"dd", b"df", b"dig", b"dmesg", b"dsquery",
    b"du", b"egrep", b"fdisk", b"fgrep", b"findstr", b"fping", b"ftp", b"gawk", b"gcc", b"getent", b"grep",
    b"groupadd", b"gunzip", b"gzip", b"hexdump", b"hping3", b"icacls", b"ifconfig", b"ifup", b"insmod", b"iostat",
    b"ipconfig", b"iptables", b"killall", b"ksh", b"logname", b"ls", b"lsblk", b"lscpu", b"lsmod", b"lsof", b"lua",
    b"mkdir", b"mkfifo", b"mkfs", b"mktemp", b"mshta", b"mv", b"nc", b"ncat", b"netcat", b"netsh", b"netstat", b"nl",
    b"nltest", b"nmap", b"node", b"nohup", b"nslookup", b"od", b"openssl", b"passwd", b"perl", b"php", b"pkill",
    b"powershell", b"powershell.exe", b"printenv", b"ps", b"pwd", b"pwsh", b"python", b"python2", b"python3",
    b"qwinsta", b"regsvr32", b"rev", b"rm", b"rmdir", b"route", b"rsync", b"ruby", b"rundll32", b"schtasks", b"scp",
    b"sed", b"setsid", b"sh", b"socat", b"ssh", b"ssh-keygen", b"strings", b"stty", b"sudo", b"sysctl", b"systemctl",
    b"systeminfo", b"tac", b"taskkill", b"tasklist", b"tcpdump", b"tcsh", b"tee", b"telnet", b"tftp", b"traceroute",
    b"tracert", b"tty", b"uname", b"unzip", b"uptime", b"useradd", b"usermod", b"visudo", b"vmstat", b"vssadmin",
    b"wall", b"wget", b"whoami", b"wmic", b"wscript", b"xargs", b"xxd", b"xzcat", b"zcat", b"zsh",
];

/// Commands whose names are also words, columns or options: their arguments have to tell.
pub(super) const WEAK: &[&[u8]] = &[
    b"alias", b"apt", b"apt-get", b"at", b"basename", b"bg", b"call", b"cat", b"command", b"comp", b"compgen",
    b"copy", b"cut", b"date", b"declare", b"del", b"diff", b"dir", b"dirname", b"docker", b"echo", b"ed", b"env",
    b"erase", b"eval", b"exec", b"exit", b"export", b"expr", b"factor", b"false", b"fc", b"fg", b"file", b"find",
    b"finger", b"fold", b"free", b"getconf", b"git", b"groups", b"halt", b"head", b"help", b"history", b"host",
    b"hostname", b"id", b"init", b"install", b"jobs", b"join", b"jq", b"kill", b"kubectl", b"last", b"less", b"link",
    b"ln", b"locate", b"login", b"look", b"mail", b"make", b"man", b"mongo", b"more", b"mount", b"move", b"mysql",
    b"nano", b"net", b"nice", b"npm", b"open", b"paste", b"ping", b"ping6", b"pip", b"pip3", b"print", b"printf",
    b"psql", b"read", b"readlink", b"reboot", b"redis-cli", b"reg", b"sc", b"screen", b"script", b"seq", b"service",
    b"set", b"shred", b"shutdown", b"sleep", b"sort", b"source", b"split", b"sqlite3", b"start", b"stat", b"su",
    b"tail", b"tar", b"test", b"time", b"timeout", b"top", b"touch", b"tr", b"tree", b"true", b"type", b"uniq",
    b"unlink", b"users", b"ver", b"vi", b"vim", b"vol", b"w", b"wait", b"watch", b"wc", b"whereis", b"which", b"who",
    b"yes", b"yum", b"zip",
];

/// Of [`STRONG`], those that do harm without arguments.
pub(super) const BARE: &[&[u8]] = &[
    b"df", b"dmesg", b"du", b"ifconfig", b"ipconfig", b"ls", b"lsblk", b"lscpu", b"lsmod", b"lsof", b"netstat",
    b"printenv", b"ps", b"pwd", b"systeminfo", b"tasklist", b"uname", b"uptime", b"whoami",
];

/// Names of one word that do something without arguments, and are words or columns as well.
pub(super) const BARE_WORDS: &[&[u8]] = &[
    b"cat", b"date", b"dir", b"env", b"exit", b"groups", b"halt", b"history", b"hostname", b"id", b"last", b"reboot",
    b"set", b"sh", b"shutdown", b"top", b"users", b"ver", b"w", b"who",
];

/// Commands that run what they read.
pub(super) const INTERPRETERS: &[&[u8]] = &[
    b"bash", b"csh", b"dash", b"ksh", b"lua", b"node", b"perl", b"php", b"powershell", b"pwsh", b"python",
    b"python2", b"python3", b"ruby", b"sh", b"tcsh", b"zsh",
];

/// Where commands are installed.
const FOLDERS: &[&[u8]] = &[b"/bin/", b"/usr/bin/", b"/usr/local/bin/", b"/sbin/", b"/usr/sbin/", b"/opt/bin/", b"c:\\windows\\system32\\", b"c:/windows/system32/"];

/// Whether a sorted list has a word.
pub(super) fn has(list: &[&[u8]], word: &[u8]) -> bool {
    list.binary_search(&word).is_ok()
}

/// The name without the folder it is installed in, and whether it had one.
pub(super) fn without_folder(word: &[u8]) -> (&[u8], bool) {
    let folder = FOLDERS.iter().find(|folder| super::super::starts_with(word, folder));
    folder.map_or((word, false), |folder| (word.get(folder.len()..).unwrap_or_default(), true))
}

#[cfg(test)]
mod tests {
    use super::{BARE, BARE_WORDS, INTERPRETERS, STRONG, WEAK, has};

    #[test]
    fn lists_are_sorted_so_that_every_name_is_found() {
        for list in [STRONG, WEAK, BARE, BARE_WORDS, INTERPRETERS] {
            assert!(list.is_sorted());
            assert!(list.iter().all(|word| has(list, word)));
        }
    }
}
