// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Images;

namespace Fleece;

/// <summary>Get-FleeceImage: what an image file is.</summary>
[Cmdlet(VerbsCommon.Get, "FleeceImage", DefaultParameterSetName = PathSet)]
[OutputType(typeof(ImageInfo))]
public sealed class GetFleeceImageCommand : FleeceCommand
{
    private const string PathSet = "Path";
    private const string LiteralPathSet = "LiteralPath";

    /// <summary>Image files; wildcards are expanded.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipeline = true, ParameterSetName = PathSet)]
    public string[] Path { get; set; } = [];

    /// <summary>Image files, taken as they are.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    [Alias("PSPath", "FullName")]
    public string[] LiteralPath { get; set; } = [];

    /// <summary>The format, where the content must not decide it.</summary>
    [Parameter(ParameterSetName = PathSet)]
    [Parameter(ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    public ImageFormat? Format { get; set; }

    /// <summary>Treat the images as from a stranger: bound the size that they may claim.</summary>
    [Parameter]
    public SwitchParameter Untrusted { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        foreach (string path in ParameterSetName == PathSet ? Path : LiteralPath)
        {
            ForItem(path, () =>
            {
                foreach (string file in ParameterSetName == PathSet ? ResolveWildcards(path) : [ResolveLiteral(path)])
                {
                    ForItem(file, () => Describe(file));
                }
            });
        }
    }

    private void Describe(string file)
    {
        ImageInfo info = Wait(Image.GetInfoAsync(file, Format, StopToken, Untrusted ? UntrustedLimits.Default : null));
        TellRawByName(file, nameof(Format), Format, info.Format);
        WriteObject(info);
    }
}
