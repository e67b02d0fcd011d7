"""Distinguished names: every spelling of one name is that name, and no other name equals it."""

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.certificates import make

from affiant.oauth.binding import distinguished
from affiant.oauth.binding.distinguished import Name

# A certificate as open banking has them, and its subject in the forms of openssl 3.0 (-nameopt RFC2253, oneline, and
# RFC2253,utf8,-esc_msb), by Java 17 (getName() of RFC2253, RFC1779 and CANONICAL, toString()) and by hand.
BANK = x509.Name(
    [
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COUNTRY_NAME, "GB")]),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "Île")]),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ex, Quoted Inc")]),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, "PSDGB-FCA-123456")]),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.BUSINESS_CATEGORY, "Private Organization")]),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.JURISDICTION_COUNTRY_NAME, "GB")]),
        x509.RelativeDistinguishedName(
            [x509.NameAttribute(NameOID.SERIAL_NUMBER, "31335323600189", _ASN1Type.PrintableString)]
        ),
        x509.RelativeDistinguishedName([x509.NameAttribute(x509.ObjectIdentifier("2.3.4"), "acme")]),
        x509.RelativeDistinguishedName(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Pay"),
                x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "multi", _ASN1Type.IA5String),
            ]
        ),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.USER_ID, "67c57882-043b-11ec")]),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "Ops@Example.com")]),
        x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "billing  one")]),
    ]
)
RFC_4514 = (
    "CN=billing  one,emailAddress=Ops@Example.com,UID=67c57882-043b-11ec,OU=Pay+DC=multi,2.3.4=#0c0461636d65,"
    "serialNumber=31335323600189,jurisdictionC=GB,businessCategory=Private Organization,"
    "organizationIdentifier=PSDGB-FCA-123456,O=Ex\\, Quoted Inc,ST=Île,C=GB"
)
SPELLINGS = {
    "ours": RFC_4514,
    "openssl RFC2253": (
        "CN=billing  one,emailAddress=Ops@Example.com,UID=67c57882-043b-11ec,DC=multi+OU=Pay,2.3.4=#0C0461636D65,"
        "serialNumber=31335323600189,jurisdictionC=GB,businessCategory=Private Organization,"
        "organizationIdentifier=PSDGB-FCA-123456,O=Ex\\, Quoted Inc,ST=\\C3\\8Ele,C=GB"
    ),
    "openssl oneline": (
        'C = GB, ST = \\C3\\8Ele, O = "Ex, Quoted Inc", organizationIdentifier = PSDGB-FCA-123456, businessCategory ='
        " Private Organization, jurisdictionC = GB, serialNumber = 31335323600189, 2.3.4 = acme, OU = Pay + DC = multi,"
        " UID = 67c57882-043b-11ec, emailAddress = Ops@Example.com, CN = billing  one"
    ),
    "Java toString": (
        'CN="billing  one", EMAILADDRESS=Ops@Example.com, UID=67c57882-043b-11ec, OU=Pay + DC=multi, OID.2.3.4=acme,'
        " SERIALNUMBER=31335323600189, OID.1.3.6.1.4.1.311.60.2.1.3=GB, OID.2.5.4.15=Private Organization,"
        ' OID.2.5.4.97=PSDGB-FCA-123456, O="Ex, Quoted Inc", ST=Île, C=GB'
    ),
    "Java RFC2253": (
        "CN=billing  one,1.2.840.113549.1.9.1=#160f4f7073404578616d706c652e636f6d,UID=67c57882-043b-11ec,"
        "OU=Pay+DC=multi,2.3.4=#0c0461636d65,2.5.4.5=#130e3331333335333233363030313839,"
        "1.3.6.1.4.1.311.60.2.1.3=#13024742,2.5.4.15=#0c1450726976617465204f7267616e697a6174696f6e,"
        "2.5.4.97=#0c1050534447422d4643412d313233343536,O=Ex\\, Quoted Inc,ST=Île,C=GB"
    ),
    "Java RFC1779": (
        'CN="billing  one", OID.1.2.840.113549.1.9.1=Ops@Example.com, OID.0.9.2342.19200300.100.1.1=67c57882-043b-11ec,'
        " OU=Pay + OID.0.9.2342.19200300.100.1.25=multi, OID.2.3.4=acme, OID.2.5.4.5=31335323600189,"
        " OID.1.3.6.1.4.1.311.60.2.1.3=GB, OID.2.5.4.15=Private Organization, OID.2.5.4.97=PSDGB-FCA-123456,"
        ' O="Ex, Quoted Inc", ST=Île, C=GB'
    ),
    "Java CANONICAL": (
        "cn=billing one,1.2.840.113549.1.9.1=#160f4f7073404578616d706c652e636f6d,uid=67c57882-043b-11ec,"
        "dc=#16056d756c7469+ou=pay,2.3.4=#0c0461636d65,2.5.4.5=#130e3331333335333233363030313839,"
        "1.3.6.1.4.1.311.60.2.1.3=#13024742,2.5.4.15=#0c1450726976617465204f7267616e697a6174696f6e,"
        "2.5.4.97=#0c1050534447422d4643412d313233343536,o=ex\\, quoted inc,st=île,c=gb"
    ),
    "by hand": (
        "commonName=BILLING ONE,E=ops@example.COM,uid=67C57882-043B-11EC,dc=MULTI+ou=pay,2.3.4=acme,"
        "SERIALNUMBER=31335323600189,jurisdictionCountryName=gb,2.5.4.15=private organization,"
        "2.5.4.97=#131050534447422D4643412D313233343536,O=Ex\\2C \\51uoted\\20Inc,S=I\u0302LE,C= GB "
    ),
}


def subject(name: x509.Name | str) -> Name:
    return distinguished.parse_certificate(make(dn=name).certificate)


def attribute(
    value: str, kind: _ASN1Type = _ASN1Type.UTF8String, oid: x509.ObjectIdentifier = NameOID.COMMON_NAME
) -> Name:
    return subject(x509.Name([x509.NameAttribute(oid, value, kind, _validate=False)]))


@pytest.mark.rfc(4517, "4.2.15")
@pytest.mark.parametrize("who", SPELLINGS)
def test_every_spelling_is_the_same_name(who: str) -> None:
    assert subject(BANK).matches(distinguished.parse(SPELLINGS[who]))


@pytest.mark.rfc(4514, "2")
def test_name_of_a_certificate_is_shown_as_it_can_be_registered() -> None:
    assert str(subject(BANK)) == RFC_4514


@pytest.mark.rfc(4514, "2.1")
@pytest.mark.parametrize(
    "other",
    [
        "O=Ex,CN=a",
        "CN=a",
        "O=Ex",
        "CN=a,O=Ex,C=DE",
        "C=DE,CN=a,O=Ex",
        "CN=a+O=Ex",
        "CN=a,CN=a,O=Ex",
        "CN=a,O=E",
        "CN=a,O=Ex\\, Inc",
        "OU=a,O=Ex",
        "CN=aa,O=Ex",
        "CN=a\\,O\\=Ex",
        "CN=#020161,O=Ex",
    ],
)
def test_another_name_is_another(other: str) -> None:
    assert not subject("CN=a,O=Ex").matches(distinguished.parse(other))


def test_order_within_a_relative_name_does_not_count() -> None:
    rdn = [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.USER_ID, "7")]
    name = subject(x509.Name([x509.RelativeDistinguishedName(rdn)]))
    assert name.matches(distinguished.parse("CN=a+UID=7"))
    assert name.matches(distinguished.parse("UID=7+CN=a"))
    for other in ("UID=7+CN=b", "UID=7", "CN=7+UID=a", "UID=7+CN=a+CN=a"):
        assert not name.matches(distinguished.parse(other))


@pytest.mark.rfc(4518, "2")
@pytest.mark.parametrize(
    ("value", "registered"),
    [
        ("Größe", "CN=GRÖSSE"),
        ("STRASSE", "CN=straße"),
        ("ﬁn", "CN=fin"),
        ("billing", "CN=\uff42illing"),
        ("bill\u00adng", "CN=billng"),
        ("bill\u200bing", "CN=billing"),
        ("bil ling", "CN=billing"),
        ("billing\0", "CN=billing"),
        ("billing\0.evil", "CN=billing"),
        ("bi\tlling", "CN=bi lling"),
        ("\u0456billing", "CN=ibilling"),
        ("\u017f", "CN=s"),
        ("\u212a", "CN=k"),
        ("\u0131", "CN=i"),
        ("bill\ufffdng", "CN=bill\ufffdng"),
    ],
)
def test_lookalike_names_differ(value: str, registered: str) -> None:
    """RFC 4518 itself takes some of them for equal."""
    try:
        name = distinguished.parse(registered)
    except ValueError:
        return
    assert not attribute(value).matches(name)


@pytest.mark.parametrize(
    "kind", ["UTF8String", "PrintableString", "IA5String", "T61String", "BMPString", "UniversalString", "VisibleString"]
)
def test_string_type_does_not_count(kind: str) -> None:
    name = attribute("Bill", getattr(_ASN1Type, kind))
    assert name.matches(distinguished.parse("CN=bill"))
    assert name.matches(distinguished.parse("CN=#0c0462696c6c"))


def test_value_of_an_unknown_type_is_exact() -> None:
    oid = x509.ObjectIdentifier("1.2.3.4")
    utf8, printable = attribute("Ab", oid=oid), attribute("Ab", _ASN1Type.PrintableString, oid)
    assert utf8.matches(distinguished.parse("1.2.3.4=#0c024162"))
    assert not printable.matches(distinguished.parse("1.2.3.4=#0c024162"))
    for name in (utf8, printable):
        assert name.matches(distinguished.parse("OID.1.2.3.4=Ab"))
        for other in ("1.2.3.4=ab", "1.2.3.4=A b", "1.2.3.4=\\ Ab", "1.2.3.5=Ab"):
            assert not name.matches(distinguished.parse(other))


@pytest.mark.parametrize("value", ["020107", "0a0107", "0500", "3003020107", "03020001", "1e0161", "1401e9"])
def test_value_that_is_no_text_is_exact(value: str) -> None:
    der = asn1.decode_der(asn1.TLV, bytes.fromhex(value))
    name = Name(((distinguished._attribute("2.5.4.3", der),),))
    assert str(name) == f"CN=#{value}"
    assert name.matches(distinguished.parse(f"CN=#{value.upper()}"))
    assert not name.matches(distinguished.parse("CN=#0c0161"))


def test_certificate_of_a_name_that_the_library_does_not_read() -> None:
    der = make(dn="CN=billing").der
    at = der.rindex(b"\x0c\x07billing")
    strange = x509.load_der_x509_certificate(der[:at] + b"\x02" + der[at + 1 :])
    with pytest.raises(ValueError, match="subject"):
        _ = strange.subject
    name = distinguished.parse_certificate(strange)
    assert str(name) == "CN=#020762696c6c696e67"
    assert not name.matches(distinguished.parse("CN=billing"))
    assert name.matches(distinguished.parse(str(name)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("billing", "an attribute such as CN=billing is expected at 'billing'"),
        ("CN=a,", "an attribute such as CN=billing is expected at ''"),
        ("CN=a,,O=b", "expected at ',O=b'"),
        ("CN=a+,O=b", "expected at ',O=b'"),
        ("CN=a;O=b", "write a backslash before ';'"),
        ("CN=a<b", "write a backslash before '<'"),
        ('CN=a"b', "write a backslash before '\"'"),
        ('CN="a"b', "write a backslash before 'b'"),
        ('CN="a', "has no value"),
        ("CN=", "has no value"),
        ("CN=,O=a", "has no value"),
        ('CN=""', "has no value"),
        ("CN=\\ ", "has no value"),
        ("CN=a\\", "write a backslash before"),
        ("CN=a\\zz", "a backslash is followed by"),
        ("CN=\\ff", "must be UTF-8"),
        ("CN=a\\00", r"U\+0000"),
        ("CN=#0c0100", r"U\+0000"),
        ("CN=a\u202eb", r"U\+202E"),
        ("CN=\u212a", r"U\+212A, which is taken for an ASCII one"),
        ("CN=#", r"write \\# for the character"),
        ("CN=#x", r"write \\# for the character"),
        ("CN=#0c02", "must be DER"),
        ("CN=#0c0161zz", "write a backslash before 'z'"),
        ("CN=#0c016100", "must be DER"),
        ("CN=#0c81016100", "must be DER"),
        ("subject=CN = a", "subject is no attribute type that affiant knows: write its object identifier"),
        ("9.9=a", "9.9 is no object identifier"),
        ("CN = a,O=b", "write all equals signs with spaces around them"),
        ("/C=DE/O=Ex/CN=b", "write CN=b,O=Ex,C=DE if that is what it means"),
        ("/CN=a/b", "cannot be read with certainty"),
        ("C=DE, O=Ex, CN=b", "write CN=b,O=Ex,C=DE if .* begins with C=DE, or C=DE,O=Ex,CN=b if it begins with CN=b"),
        ("CN = b, O = Ex, C = DE", "write CN=b,O=Ex,C=DE if .* begins with C=DE, or C=DE,O=Ex,CN=b if .* CN=b"),
        ("O=Ex, CN=b", "write CN=b,O=Ex if the certificate begins with O=Ex"),
    ],
)
def test_ambiguous_name_is_rejected_with_the_remedy(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        distinguished.parse(text)


@pytest.mark.parametrize("text", ["CN=b,O=Ex,C=DE", "C=DE,O=Ex,CN=b"])
def test_without_spaces_a_name_is_of_rfc_4514(text: str) -> None:
    assert subject(text).matches(distinguished.parse(text))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([NameOID.COMMON_NAME, NameOID.USER_ID, x509.ObjectIdentifier("1.2.3")]), st.text(min_size=1, max_size=8)), min_size=1, max_size=4))  # fmt: skip
def test_printed_name_parses_as_the_same(rdns: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    """Or it is refused: a name that has a value that is never equal."""
    try:
        made = x509.Name([x509.NameAttribute(oid, text, _validate=False) for oid, text in rdns])
        name = subject(made)
    except UnicodeEncodeError:
        return
    try:
        read = distinguished.parse(str(name))
    except ValueError:
        assert not name.matches(name) or name.exact
    else:
        assert name.matches(read)
        assert str(name).isprintable()
