//! Clouds, hosting and infrastructure.

use super::{Gate, Rule, block, format, gated};

pub(super) const RULES: &[Rule] = &[
    format("aws-access-key", &["akia", "asia", "abia", "acca"], r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    gated(
        "aws-secret-key",
        Gate::Random,
        &["aws", "secretaccesskey", "secret_access_key"],
        r#"(?i)(?:aws|secret)[\w.-]{0,30}?(?:secret|key)[\w.-]{0,20}["']?\s{0,4}(?::=|=>|[:=])\s{0,4}["']?(?<secret>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"#,
    ),
    format("gcp-api-key", &["aiza"], r"AIza[\w-]{35,}"),
    format("gcp-oauth-token", &["ya29."], r"ya29\.[\w-]{20,}"),
    format("gcp-client-secret", &["gocspx-"], r"GOCSPX-[\w-]{28,}"),
    format("azure-storage-key", &["accountkey="], r"(?i)AccountKey=(?<secret>[A-Za-z0-9+/]{86}==)"),
    format("azure-shared-key", &["sharedaccesskey="], r"(?i)SharedAccessKey=(?<secret>[A-Za-z0-9+/]{43}=)"),
    format("azure-app-secret", &["q~"], r"[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}"),
    format("azure-sas-signature", &["sig="], r"(?i)[?&]sig=(?<secret>[A-Za-z0-9%+/]{43,70}(?:=|%3D))"),
    format("digitalocean-token", &["_v1_"], r"do[opr]_v1_[a-f0-9]{64}"),
    format("alibaba-access-key", &["ltai"], r"LTAI[A-Za-z0-9]{17,21}"),
    format("tencent-secret-id", &["akid"], r"\bAKID[A-Za-z0-9]{32}"),
    format("heroku-key", &["hrku-aa"], r"HRKU-AA[\w-]{58}"),
    format("fly-token", &["fo1_", "fm1", "fm2_"], r"\b(?:fo1_[\w-]{43}|fm(?:1[ar]|2)_[A-Za-z0-9+/=]{100,})"),
    format("cloudflare-origin-key", &["v1.0-"], r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}"),
    format("vault-token", &["hvs.", "hvb."], r"hv[sb]\.[\w-]{24,}"),
    format("terraform-token", &[".atlasv1."], r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}"),
    format("pulumi-token", &["pul-"], r"\bpul-[a-f0-9]{40}"),
    format("doppler-token", &["dp."], r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]{1,40}\.)?[A-Za-z0-9]{40,44}"),
    format("databricks-token", &["dapi"], r"\bdapi[a-f0-9]{32}(?:-\d)?"),
    format("planetscale-token", &["pscale_"], r"pscale_(?:tkn|pw|oauth)_[\w=.-]{32,64}"),
    format("supabase-token", &["sbp_", "sb_secret_"], r"\b(?:sbp_[a-f0-9]{40}|sb_secret_[\w-]{20,})"),
    format("netlify-token", &["nfp_"], r"nfp_[A-Za-z0-9]{36,}"),
    format("tailscale-key", &["tskey-"], r"tskey-[a-z]+-[A-Za-z0-9]+(?:-[A-Za-z0-9]+)?"),
    format("age-secret-key", &["age-secret-key-1"], r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    gated(
        "wireguard-key",
        Gate::Format,
        &["privatekey", "presharedkey"],
        r"(?:PrivateKey|PresharedKey)\s?=\s?(?<secret>[A-Za-z0-9+/]{43}=)",
    ),
    block(
        "private-key",
        &["private key"],
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[^\x00]{16,}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    ),
    // A key whose end was cut off is as secret as a whole one: everything of it that is there goes.
    block(
        "private-key-cut",
        &["private key"],
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:\\[nr]|\s)+(?:[A-Za-z0-9+/=]{16,}(?:\\[nr]|\s)*)+",
    ),
    block("putty-key", &["private-lines:"], r"Private-Lines: \d+\s+(?<secret>(?:[A-Za-z0-9+/=]{16,}\s+)+)"),
];
