#!/bin/sh
# The streams of a phone, out of face.h264: portrait.h264 (the face in 9:16), turned.h264 (the same as a sensor that lies on its side codes
# it, with the message that says so) and turned_reordered.h264 (the same with B-frames). Run here; needs ffmpeg with libx264.
set -eu
# 36 frames with a face, a key frame every 12.
shape="crop=180:240:70:0,pad=180:320:0:40:gray,trim=end_frame=36"
make() {
    ffmpeg -v error -y -i face.h264 -an -vf "$1" -c:v libx264 -preset veryslow -crf 17 -g 12 -keyint_min 12 -sc_threshold 0 -bf "$2" \
        -threads 1 -fflags +bitexact -flags +bitexact -x264-params aud=1:no-info=1 -bsf:v "$3" "$4"
}
make "$shape" 0 null portrait.h264
make "$shape,transpose=clock" 0 h264_metadata=display_orientation=insert:rotate=90 turned.h264
make "$shape,transpose=clock" 3 h264_metadata=display_orientation=insert:rotate=90 turned_reordered.h264
