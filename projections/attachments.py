"""Which kind of attachment a file name stands for."""

# What people call a picture, a video, a recording, a document; the endings are those that phones, cameras, office
# programs and chat clients write. Programs, archives, data and code are none of these.
_ENDINGS = {
    "image": """
        png jpg jpeg gif webp
        jpe jfif apng avif heic heif hif bmp dib tif tiff svg svgz ico jxl jp2 psd xcf ai eps
        raw dng cr2 cr3 nef arw orf raf rw2 pef
    """,
    "video": """
        mp4 mov avi
        m4v mkv webm mpg mpeg mpe m2v wmv asf flv f4v ogv 3gp 3g2 mts m2ts vob qt divx mxf
    """,
    "audio": """
        mp3 m4a m4b aac wav wave flac ogg oga opus wma amr aif aiff aifc caf mid midi mka weba ac3 ape 3ga
    """,
    "document": """
        pdf doc docx
        docm dot dotx odt ott fodt rtf txt text md markdown rst tex pages wpd wps epub mobi azw azw3 djvu ps xps oxps
        xls xlsx xlsm xlsb xlt xltx ods fods csv tsv numbers ppt pptx pptm pps ppsx pot potx odp fodp key odg vsd vsdx
        htm html xhtml mht mhtml log gdoc gsheet gslides
    """,
}
_KINDS = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()}


def kind(name: str) -> str:
    """The kind of a file by its ending, in any case: image, video, audio, document or other.

    >>> kind("IMG_1.HEIC"), kind("minutes.final.pdf"), kind("archive.tar.gz"), kind("notes")
    ('image', 'document', 'other', 'other')
    """
    _, dot, ending = name.rpartition(".")
    return _KINDS.get(ending.lower(), "other") if dot else "other"
