//! Secrets of many kinds, generated and planted into an agent's log, are all found; nothing else is.
//! No secret stands in this file: each is made from a template and random characters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use fleet_memory::SecretRedactor;
use fleet_runtime::{ProjectId, Redactor};

/// Templates. `«…»` is the secret; `{An}` stands for n letters and digits, `{a}` lower-case ones,
/// `{U}` upper-case ones, `{l}` letters, `{h}` hexadecimal digits, `{d}` digits, `{b}` base64,
/// `{w}` base64url, `{2}` upper-case base32. `¶` is the label of a key block, `¬` is `://`, `¤` is nothing. A leading
/// `^` asks for a line of its own.
const KINDS: &[(&str, &str)] = &[
    ("aws-access-key", "«AKIA{216}»"),
    ("aws-secret-key", "aws_secret_access_key = «{b40}»"),
    ("gcp-api-key", "«AIza{w35}»"),
    ("gcp-oauth-token", "«ya29.{w60}»"),
    ("gcp-client-secret", "«GOCSPX-{w28}»"),
    ("azure-storage-key", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=«{b86}==»;"),
    ("azure-shared-key", "SharedAccessKeyName=root;SharedAccessKey=«{b43}=»"),
    ("azure-app-secret", "«{A3}8Q~{w31}»"),
    ("digitalocean-token", "«dop_v1_{h64}»"),
    ("alibaba-access-key", "«LTAI{A20}»"),
    ("tencent-secret-id", "«AKID{A32}»"),
    ("heroku-key", "«HRKU-AA{w58}»"),
    ("vault-token", "«hvs.{w95}»"),
    ("terraform-token", "«{A14}.atlasv1.{w64}»"),
    ("pulumi-token", "«pul-{h40}»"),
    ("doppler-token", "«dp.pt.{A43}»"),
    ("databricks-token", "«dapi{h32}»"),
    ("planetscale-token", "«pscale_tkn_{w43}»"),
    ("supabase-token", "«sbp_{h40}»"),
    ("netlify-token", "«nfp_{A36}»"),
    ("tailscale-key", "«tskey-auth-{A16}-{A32}»"),
    ("age-secret-key", "«AGE-SECRET-KEY-1{U58}»"),
    ("wireguard-key", "^PrivateKey = «{b43}=»"),
    ("private-key", "«-----BEGIN RSA ¶-----\n{b64}\n{b64}\n{b40}==\n-----END RSA ¶-----»"),
    ("private-key", "\"«-----BEGIN ¶-----\\n{b64}\\n{b64}\\n-----END ¶-----»\\n\""),
    ("private-key-cut", "^-----BEGIN OPENSSH ¶-----\n«{b70}\n{b70}»"),
    ("github-pat", "«ghp_{A36}»"),
    ("github-oauth", "«gho_{A36}»"),
    ("github-app", "«ghs_{A36}»"),
    ("github-refresh", "«ghr_{A76}»"),
    ("github-fine-grained", "«github_pat_{A22}_{A59}»"),
    ("gitlab-pat", "«glpat-{w20}»"),
    ("gitlab-token", "«glrt-{w20}»"),
    ("gitlab-runner", "«GR1348941{w20}»"),
    ("atlassian-token", "«ATATT3xFfGF0{w176}={h8}»"),
    ("atlassian-token", "«ATBB{A32}»"),
    ("npm-token", "«npm_{A36}»"),
    ("npm-auth", "//host.example/:_authToken=«{A40}»"),
    ("pypi-token", "«pypi-AgEI{w120}»"),
    ("cargo-token", "«cio{A32}»"),
    ("rubygems-token", "«rubygems_{h48}»"),
    ("clojars-token", "«CLOJARS_{a60}»"),
    ("docker-token", "«dckr_pat_{w27}»"),
    ("docker-auth", "{\"auths\":{\"host\":{\"auth\":\"«{b32}»\"}}}"),
    ("artifactory-key", "«AKCp{A69}»"),
    ("sonarqube-token", "«sqp_{h40}»"),
    ("linear-key", "«lin_api_{A40}»"),
    ("postman-key", "«PMAK-{h24}-{h34}»"),
    ("anthropic-key", "«sk-ant-api03-{w93}AA»"),
    ("openai-key", "«sk-{A20}T3BlbkFJ{A20}»"),
    ("openai-project-key", "«sk-proj-{w74}»"),
    ("openrouter-key", "«sk-or-v1-{h64}»"),
    ("huggingface-token", "«hf_{l34}»"),
    ("replicate-token", "«r8_{A37}»"),
    ("groq-key", "«gsk_{A52}»"),
    ("slack-token", "«xoxb-{d12}-{d12}-{A24}»"),
    ("slack-app-token", "«xapp-1-A{U10}-{d13}-{h64}»"),
    ("slack-webhook", "https://hooks.slack.com/services/«T{U10}/B{U10}/{A24}»"),
    ("discord-webhook", "https://discord.com/api/webhooks/«{d18}/{w68}»"),
    ("discord-token", "discord «M{A23}.{A6}.{w27}»"),
    ("telegram-token", "«{d9}:AA{w33}»"),
    ("stripe-key", "«sk_live_{A24}»"),
    ("stripe-webhook", "«whsec_{A32}»"),
    ("square-token", "«sq0atp-{w22}»"),
    ("shopify-token", "«shpat_{h32}»"),
    ("sendgrid-key", "«SG.{w22}.{w43}»"),
    ("mailgun-key", "«key-{h32}»"),
    ("mailchimp-key", "«{h32}-us12»"),
    ("brevo-key", "«xkeysib-{h64}-{A16}»"),
    ("resend-key", "«re_{A8}_{A24}»"),
    ("twilio-key", "«SK{h32}»"),
    ("newrelic-key", "«NRAK-{U27}»"),
    ("grafana-token", "«glsa_{A32}_{h8}»"),
    ("sentry-token", "«sntryu_{h64}»"),
    ("dynatrace-token", "«dt0c01.{U24}.{U64}»"),
    ("airtable-token", "«pat{A14}.{h64}»"),
    ("notion-token", "«ntn_{A46}»"),
    ("figma-token", "«figd_{w40}»"),
    ("jwt", "«eyJ{w34}.eyJ{w80}.{w43}»"),
    ("url-password", "postgres¬app:«{A14}»@db.internal:5432/app"),
    ("url-password", "redis¬:«{A20}»@cache:6379/0"),
    ("connection-password", "Server=db;Database=app;User Id=sa;Pass¤word=«{A12}»;"),
    ("bearer-token", "Authorization: Bearer «{w40}»"),
    ("authorization-header", "authorization: Basic «{b36}»"),
    ("authorization-header", "curl -H 'X-Api-Key: «{A32}»' host"),
    ("netrc-password", "machine git.example login ada pass¤word «{A16}»"),
    ("command-password", "cu¤rl -s -u ada:«{A12}9» https://host/api"),
    ("password-hash", "root:«$6${A16}${A86}»:19000"),
    ("password", "pass¤word = \"«{A10}7»\""),
    ("password", "{\"db_pass¤word\": \"«{A12}3»\"}"),
    ("password", "{\\\"pass¤word\\\":\\\"«{A12}3»\\\"}"),
    ("password-bare", "^DB_PASSWORD=«{A18}»"),
    ("password-bare", "^  password: «{A18}»"),
    ("secret", "client_secret: '«{A32}»'"),
    ("secret", "let api_key = \"«{A24}»\";"),
    ("secret", "API_KEY=\"«{h32}»\""),
    ("secret-bare", "^export SESSION_SECRET=«{A32}»"),
    ("secret-bare", "^  access_token: «{w40}»"),
];

/// What an agent's log looks like: compiler output, hashes, uuids, prose, code.
const LOG: &str = "   Compiling serde v1.0.228\nwarning: unused variable: `token` in src/lib.rs:14:9\n\
commit 83baae61804e65cc73a7201a7252750c76066a30\nAuthor: Ada <ada@brook.example>\n\
The parser keeps one token of lookahead; the secret of its speed is that it never backs up.\n\
let token = lexer.next_token()?; // password fields are skipped\n\
checksum = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"\n\
job 7d444840-9dc0-11d1-b245-5ffdce74fad2 started, 3 of 4 keys are known\n\
test result: ok. 12 passed; 0 failed; finished in 0.31s — größer, schöner, ключ\n";

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn text(&mut self, class: char, length: usize) -> String {
        const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
        let alphabet: Vec<u8> = match class {
            'A' => format!("{UPPER}{LOWER}0123456789"),
            'a' => format!("{LOWER}0123456789"),
            'U' => format!("{UPPER}0123456789"),
            'l' => format!("{UPPER}{LOWER}"),
            'h' => "0123456789abcdef".to_owned(),
            'd' => "0123456789".to_owned(),
            'b' => format!("{UPPER}{LOWER}0123456789+/"),
            'w' => format!("{UPPER}{LOWER}0123456789_-"),
            '2' => format!("{UPPER}234567"),
            other => panic!("no class {other}"),
        }
        .into_bytes();
        // Begins and ends with a letter or digit, as issued tokens mostly do.
        let mut text: Vec<u8> = (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect();
        for end in [0, length - 1] {
            while !text[end].is_ascii_alphanumeric() {
                text[end] = alphabet[self.below(alphabet.len())];
            }
        }
        String::from_utf8(text).unwrap()
    }

    /// Fills a template; the secret is what stands between the guillemets.
    fn fill(&mut self, template: &str) -> (String, String) {
        let mut out = String::new();
        let mut rest = template;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            let inner = rest[open + 1..].split('}').next().unwrap();
            let class = inner.chars().next().unwrap_or('"');
            let length = inner.get(1..).and_then(|n| n.parse::<usize>().ok());
            if let (true, Some(length)) = ("AaUlhdbw2".contains(class), length) {
                out.push_str(&self.text(class, length));
                rest = &rest[open + inner.len() + 2..];
            } else {
                out.push('{');
                rest = &rest[open + 1..];
            }
        }
        out.push_str(rest);
        let out = out.replace('¶', "PRIVATE KEY").replace('¬', "://").replace('¤', "");
        let (before, after) = out.split_once('«').unwrap();
        let (secret, after) = after.split_once('»').unwrap();
        (format!("{before}{secret}{after}"), secret.to_owned())
    }

    /// The log with a text planted at a random place.
    fn plant(&mut self, template: &str, text: &str) -> String {
        let mut at = self.below(LOG.len());
        while !LOG.is_char_boundary(at) {
            at += 1;
        }
        let (left, right) = if template.starts_with('^') {
            ("\n", "\n")
        } else {
            [(" ", " "), ("\n", "\n"), ("(", ")"), ("<", ">"), (": ", "\n"), ("\t", ",")][self.below(6)]
        };
        format!("{}{left}{text}{right}{}", &LOG[..at], &LOG[at..])
    }
}

fn redactor() -> SecretRedactor {
    SecretRedactor::new([7; 32])
}

fn project() -> ProjectId {
    "p1".parse().unwrap()
}

#[test]
fn planted_secrets_of_every_kind_are_found_wherever_they_stand() {
    let (redactor, project) = (redactor(), project());
    let mut rng = Rng(1);
    let mut missed = Vec::new();
    for (rule, template) in KINDS {
        for _ in 0..20 {
            let (text, secret) = rng.fill(template.trim_start_matches('^'));
            let log = rng.plant(template, &text);
            let redacted = redactor.redact(&project, &log);
            if redacted.contains(&secret) {
                missed.push(format!("{rule}: {text}"));
            }
            // What is hidden is the secret, and the log around it is as it was.
            let restored = redactor.placeholders(&project).originals(&redacted);
            assert_eq!(restored.as_deref(), Some(log.as_str()), "{rule}");
            assert_eq!(redactor.redact(&project, &redacted), redacted, "{rule}: not idempotent");
        }
    }
    assert!(missed.is_empty(), "{} of {} missed:\n{}", missed.len(), KINDS.len() * 20, missed.join("\n"));
}

#[test]
fn the_placeholder_names_the_kind_of_secret() {
    let (redactor, project) = (redactor(), project());
    let mut rng = Rng(2);
    for (rule, template) in KINDS {
        let (text, _) = rng.fill(template.trim_start_matches('^'));
        let redacted = redactor.redact(&project, &text).into_owned();
        assert!(redacted.contains(&format!("⟦secret:{rule}:")), "{rule}: {text}\n-> {redacted}");
    }
}

#[test]
fn several_secrets_in_one_message_are_all_found_and_equal_ones_look_alike() {
    let (redactor, project) = (redactor(), project());
    let mut rng = Rng(3);
    let (token, _) = rng.fill("«ghp_{A36}»");
    let (password, _) = rng.fill("«{A16}5»");
    let text = format!("first {token}, then password=\"{password}\", then {token}");
    let redacted = redactor.redact(&project, &text);
    assert!(!redacted.contains(&token) && !redacted.contains(&password));
    let tags: Vec<&str> = redacted.split("⟦secret:github-pat:").skip(1).map(|rest| &rest[..8]).collect();
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn hashes_uuids_and_ordinary_logs_are_left_alone() {
    let (redactor, project) = (redactor(), project());
    let mut rng = Rng(4);
    let contexts = [
        "commit {}",
        "rev = \"{}\"",
        "\"hash\": \"{}\"",
        "checksum = \"{}\"",
        "prev_hash: {}",
        "token = \"{}\"",
        "id={}",
        "digest: sha256:{}",
        "fleet/{}",
        "key {}",
        "secret of {}",
        "{}  Cargo.lock",
        "the token was {} before",
        "idempotency_key: \"{}\"",
        "password hash {}",
    ];
    for context in contexts {
        for length in [7, 8, 10, 12, 32, 40, 64] {
            let hash = rng.text('h', length);
            let line = context.replace("{}", &hash);
            assert_eq!(redactor.redact(&project, &line), line.as_str());
        }
        let parts: Vec<String> = [8, 4, 4, 4, 12].into_iter().map(|n| rng.text('h', n)).collect();
        let line = context.replace("{}", &parts.join("-"));
        assert_eq!(redactor.redact(&project, &line), line.as_str());
    }
    assert_eq!(redactor.redact(&project, LOG), LOG);
}

#[test]
fn a_message_of_4_kb_takes_less_than_half_a_millisecond() {
    let (redactor, project) = (redactor(), project());
    let plain: String = LOG.repeat(8).chars().take(4096).collect();
    let (token, _) = Rng(5).fill("«ghp_{A36}»");
    let planted = format!("{}{token}{}", &plain[..1000], &plain[1000..]);
    for (name, text) in [("without a secret", &plain), ("with one", &planted)] {
        let best = (0..200).map(|_| timed(|| drop(redactor.redact(&project, text)))).min().unwrap();
        println!("4 KB {name}: {best:?}");
        assert!(best < Duration::from_micros(500), "{name}: {best:?}");
    }
}

#[test]
fn a_text_full_of_keywords_costs_time_linear_in_its_length() {
    let (redactor, project) = (redactor(), project());
    let flood = |n: usize| "password= token: -----BEGIN PRIVATE KEY----- eyJ :// ".repeat(n);
    let (short, long) = (flood(200), flood(2000));
    let time = |text: &str| (0..5).map(|_| timed(|| drop(redactor.redact(&project, text)))).min().unwrap();
    let (short, long) = (time(&short), time(&long));
    println!("flood of 11 KB: {short:?}, of 110 KB: {long:?}");
    assert!(long < short * 40, "{short:?} -> {long:?}");
}

fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}
