"""AWS, Google Cloud and Microsoft Entra, for the workloads that they run."""

from __future__ import annotations

from affiant.oauth.federation import trusted_token
from affiant.server.registry.federation.platforms.platform import DAY, UUID, IssuerForm, Need, Platform, Question, Shape
from affiant.storage.records import ClaimCondition

_STS = "/https:~1~1sts.amazonaws.com~1"  # the claims of a principal are below a member that is named like a URL
_ARN = "arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:(role|user|assumed-role|federated-user)/"
_PRINCIPAL = Shape(
    "the whole ARN of a role, such as arn:aws:iam::123456789012:role/deploy", f"{_ARN}.+", f"{_ARN}[^/*]+.*"
)
_ID = Shape("an id in small letters, such as 72f988bf-86f1-41af-91ab-2d7cd011db47", UUID)
_CALLER = "the caller writes it as it likes"

AWS = Platform(
    name="aws",
    title="AWS",
    issuers=(IssuerForm("https://{uuid}.tokens.sts.global.api.aws"),),
    needs=(
        Need(
            ("sub", f"{_STS}/principal_id"),
            "sub=arn:aws:iam::123456789012:role/deploy",
            "all that runs in the account has the same issuer",
            is_exact=False,
        ),
    ),
    shapes={
        "sub": _PRINCIPAL,
        f"{_STS}/principal_id": _PRINCIPAL,
        f"{_STS}/aws_account": Shape("the 12 digits of an account, as a text", "[0-9]{12}"),
    },
    never={f"{_STS}/request_tags": _CALLER, "scope": _CALLER},
    lifetime=3600,
    longest=3600,
    algorithms=("RS256", "ES384"),
    # With OriginIdentity `sub` is what another identity provider wrote. The documentation does not say where it is.
    refuses=(
        ClaimCondition("subject_mode", ("OriginIdentity",)),
        ClaimCondition(f"{_STS}/subject_mode", ("OriginIdentity",)),
    ),
    questions=(
        Question("ROLE", "ARN of the role", claim="sub"),
        Question("issuer", "of the account:  aws iam get-outbound-web-identity-federation-info", is_issuer=True),
    ),
    example="arn:aws:iam::123456789012:role/deploy --issuer 8a1bb6a4-31f2-4a3a-9a56-0c4a1d3f7d10 --client deploy",
)

GOOGLE = Platform(
    name="google",
    title="Google Cloud",
    issuers=(IssuerForm("https://accounts.google.com"),),
    is_shared=True,
    needs=(
        Need(
            ("sub",),
            "sub=107517467455664443766",
            "the address of a deleted service account can be given to another, and its unique id cannot",
        ),
    ),
    shapes={
        "sub": Shape("the digits of the unique id, as a text", "[0-9]{10,30}"),
        "email_verified": Shape("true or false, and not a text", kind=bool),
    },
    replays=(trusted_token.IF_PRESENT, trusted_token.REUSED),
    longest=3600,
    algorithms=("RS256",),
    questions=(
        Question(
            "UNIQUE_ID",
            "of the service account:  gcloud iam service-accounts describe EMAIL --format 'value(uniqueId)'",
            claim="sub",
        ),
        Question("email", "of the service account, as a further condition", claim="email", is_asked=False),
    ),
    example="107517467455664443766 --client deploy",
)

ENTRA = Platform(
    name="entra",
    title="Microsoft Entra",
    issuers=(
        IssuerForm("https://sts.windows.net/{uuid}/"),
        IssuerForm("https://login.microsoftonline.com/{uuid}/v2.0"),
        IssuerForm("https://sts.chinacloudapi.cn/{uuid}/"),
        IssuerForm("https://login.partner.microsoftonline.cn/{uuid}/v2.0"),
        IssuerForm("https://login.microsoftonline.us/{uuid}/v2.0"),
    ),
    needs=(
        Need(
            ("oid", "azp", "appid"),
            "oid=6f1a3c8e-1111-4222-8333-9c2b7d5e0a11",
            "every identity and every person of the tenant has the same issuer",
        ),
    ),
    shapes={"oid": _ID, "tid": _ID, "azp": _ID, "appid": _ID},
    needs_audience="the app registration for which the job asks, such as api://affiant",
    replays=(trusted_token.REUSED, trusted_token.IF_PRESENT),
    # The token of a managed identity lives a day, and is dated five minutes back.
    lifetime=DAY + 300,
    longest=DAY + 300,
    questions=(
        Question("OBJECT_ID", "of the managed identity (principalId)", claim="oid"),
        Question("tenant", "id of the tenant; for tokens of version 2 its issuer", claim="tid", is_issuer=True),
        Question(
            "audience",
            "Application ID URI of the app registration for which the job gets its token",
            member="audiences",
            usual="api://affiant",
            is_asked=False,
        ),
    ),
    example="6f1a3c8e-1111-4222-8333-9c2b7d5e0a11 --tenant 72f988bf-86f1-41af-91ab-2d7cd011db47 --client deploy",
)
