//! Secrets known by where they stand: assignments, headers, URLs, command lines.
//!
//! The group `key`, where there is one, is the name the value is assigned to; the gate reads it.

use super::{Gate, Rule, block, gated};

/// Names that are assigned secrets.
const NAMES: &[&str] = &[
    "secret",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "api key",
    "access_key",
    "accesskey",
    "access-key",
    "auth_key",
    "private_key",
    "privatekey",
    "signing_key",
    "encryption_key",
    "credential",
    "client_secret",
];

/// Names that are assigned passwords, which may be short and weak.
const PASSWORDS: &[&str] = &["password", "passwd", "passphrase", "pwd", "pass"];

pub(super) const RULES: &[Rule] = &[
    block("jwt", &["eyj"], r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    gated(
        "url-password",
        Gate::Password,
        &["://"],
        r#"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:@/"'`<>]{0,64}:(?<secret>[^\s:@/"'`<>]{3,200})@[\w\[]"#,
    ),
    gated(
        "connection-password",
        Gate::Password,
        &["password=", "pwd="],
        r#"(?i);\s?(?:password|pwd)=(?<secret>[^;\s"']{4,200})"#,
    ),
    gated("bearer-token", Gate::Random, &["bearer"], r"(?i)\bbearer\s{1,4}(?<secret>[A-Za-z0-9._~+/-]{16,}=*)"),
    gated(
        "authorization-header",
        Gate::Random,
        &["authorization", "x-api-key", "x-auth-token", "private-token"],
        r#"(?i)(?<key>authorization|x-api-key|x-auth-token|private-token)\\?["']?\s{0,3}[:=,]\s{0,3}\\?["']?(?:basic|token|apikey)?\s{0,3}(?<secret>[A-Za-z0-9._~+/-]{12,}=*)"#,
    ),
    gated(
        "netrc-password",
        Gate::Password,
        &["machine "],
        r"\bmachine\s+\S{1,100}\s+login\s+\S{1,100}\s+password\s+(?<secret>\S{4,200})",
    ),
    gated(
        "command-password",
        Gate::Password,
        &["curl", "sshpass", "mysql", "smbclient", "wget"],
        r#"(?:\bcurl\b[^\n]{0,200}?\s(?:-u|--user)[\s=]{1,2}["']?[^\s:"']{1,64}:|\bsshpass\s+-p\s?["']?|\bmysql(?:dump)?\b[^\n]{0,200}?\s(?:-p|--password=)["']?|\bwget\b[^\n]{0,200}?--password=["']?)(?<secret>[^\s"'@]{4,200})"#,
    ),
    gated(
        "password-hash",
        Gate::Format,
        &["$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$argon2"],
        r"\$(?:2[aby]\$\d\d\$[./A-Za-z0-9]{53}|[56]\$(?:rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}|y\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}|argon2(?:id|i|d)\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]{8,}\$[A-Za-z0-9+/]{16,})",
    ),
    gated(
        "password",
        Gate::Password,
        PASSWORDS,
        r#"(?i)(?<key>[\w.-]{0,40}?(?:password|passwd|passphrase|pwd|pass))\\?["']?\s{0,4}(?::=|=>|==|[:=])\s{0,4}\\?["'`](?<secret>[^"'`\\\s]{6,200})\\?["'`]"#,
    ),
    gated(
        "password-bare",
        Gate::Random,
        PASSWORDS,
        r#"(?mi)^[ \t]*(?:-[ \t]+|export[ \t]+|set[ \t]+)?(?<key>[\w.-]{0,40}?(?:password|passwd|passphrase|pwd|requirepass|pass))[ \t]*(?:[:=]|[ \t])[ \t]*(?<secret>[^\s"'`,;(){}\[\]<>]{6,200})[ \t\r]*$"#,
    ),
    gated(
        "secret",
        Gate::Random,
        NAMES,
        r#"(?i)(?<key>[\w.-]{0,40}?(?:secret|token|api[_ -]?key|access[_-]?key|auth[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|credentials?)[\w-]{0,20}?)\\?["']?\s{0,4}(?::=|=>|==|[:=])\s{0,4}\\?["'`](?<secret>[^"'`\\\s]{10,300})\\?["'`]"#,
    ),
    gated(
        "secret-bare",
        Gate::Random,
        NAMES,
        r#"(?mi)^[ \t]*(?:-[ \t]+|export[ \t]+|set[ \t]+|ENV[ \t]+|ARG[ \t]+)?(?<key>[\w.-]{0,40}?(?:secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|credentials?)[\w-]{0,20}?)[ \t]*[:=][ \t]*(?<secret>[^\s"'`,;(){}\[\]<>]{12,300})[ \t\r]*$"#,
    ),
];
