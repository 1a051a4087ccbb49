from autonama_dagster.services.anchors.merkle import leaf, root

# The inputs and roots of Certificate Transparency's own tests (RFC 6962).
INPUTS = [
    b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno",
]  # fmt: skip
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def test_roots_are_those_of_rfc_6962():
    for count, expected in ROOTS.items():
        assert root([leaf([text]) for text in INPUTS[:count]]).hex() == expected


def test_a_leaf_of_several_rows_is_the_hash_of_their_digests_in_order():
    assert leaf([b"a", b"b"]) == leaf([b"ab"]) != leaf([b"b", b"a"])
