"""MNIST and packages from the network, and files that came damaged."""

from mnist_mlp.doctor.failures.symptom import TRAIN, Symptom

OFFLINE = f"{TRAIN} --data_dir=DIR with MNIST's four files from another machine, or --dataset=digits, which needs none"

SYMPTOMS = (
    Symptom(
        "certificate-not-verified",
        ("CERTIFICATE_VERIFY_FAILED", "unable to get local issuer certificate"),
        "Python does not know the authority behind the server's certificate: on a Mac they are not installed, "
        "elsewhere a company's proxy answers with its own",
        "on a Mac run '/Applications/Python 3.12/Install Certificates.command' (your version); behind a proxy export "
        f"SSL_CERT_FILE=FILE with its certificate; or run {OFFLINE}",
        "keras#14089, ageron/handson-ml2#377",
    ),
    Symptom(
        "server-refuses",
        (
            r"HTTP Error (403|404|410|429|500|502|503|504)",
            "URL fetch failure on",
        ),
        "the server that holds the data refuses or is overloaded; MNIST's first address has been closed for years",
        f"run {OFFLINE}; the package tries several mirrors, so the same command may work later",
        "pytorch/vision#1938, cvdfoundation/mnist#4",
    ),
    Symptom(
        "no-network",
        (
            "Temporary failure in name resolution",
            "getaddrinfo failed",
            "Name or service not known",
            "nodename nor servname provided",
            "ReadTimeoutError",
            "after connection broken by",
            "Cannot connect to proxy",
            "Network is unreachable",
        ),
        "no connection to the server: no network, no name server, a proxy that has to be named, or a slow line",
        "run export HTTPS_PROXY=http://HOST:PORT behind a proxy, and pip with --timeout 100; without a network "
        f"{OFFLINE}",
        "pypa/pip#7424, tensorflow#38235",
    ),
    Symptom(
        "download-damaged",
        (
            "Compressed file ended before the end-of-stream marker was reached",
            "CRC check failed",
            "Not a gzipped file",
            "retrieval incomplete: got only",
            "File is not a zip file",
        ),
        "the file is not complete, or is a web page that was saved under the data's name",
        "run head -c 100 FILE, which shows a web page as text; remove it and download it again; of MNIST this package "
        "checks every byte and names the file",
        "datapythonista/mnist#17, carlini/nn_robust_attacks#51, keras#1425",
    ),
    Symptom(
        "idx-still-packed",
        (r"Magic number mismatch, expected \d",),
        "a program for unpacked IDX files was given packed ones (529205256 is the beginning of a .gz file), or images "
        "for labels",
        f"run gunzip --keep FILE.gz for that program; the ones of this package read both: {TRAIN} --data_dir=DIR",
        "shubhammor0403/EMNIST#1, hanbt/learn_dl#52",
    ),
)
