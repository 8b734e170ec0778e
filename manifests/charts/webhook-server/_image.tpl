{{- /* repository:tag, or repository@digest when the tag is a digest. */ -}}
{{- define "imageOf" -}}
{{- $repository := required (printf "%s.repository is required: where the image built from %s was pushed" .path .dockerfile) .image.repository -}}
{{- $tag := required (printf "%s.tag is required: a tag, or a digest such as sha256:0123..." .path) .image.tag -}}
{{- $repository }}{{ if hasPrefix "sha256:" $tag }}@{{ else }}:{{ end }}{{ $tag -}}
{{- end -}}

{{- define "image" -}}
{{ include "imageOf" (dict "image" .Values.image "path" "image" "dockerfile" "webhook/Dockerfile") }}
{{- end -}}
