// SPDX-License-Identifier: MIT
using System.Management.Automation;

namespace Fleece;

/// <summary>What the cmdlets share that read images, of files or of NBD exports, one by one.</summary>
public abstract class ImageCommand : NetworkCommand
{
    private protected const string PathSet = "Path";
    private protected const string LiteralPathSet = "LiteralPath";

    /// <summary>Image files, wildcards allowed, or URIs of NBD exports.</summary>
    [Parameter(
        Mandatory = true, Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true, ParameterSetName = PathSet)]
    [SupportsWildcards]
    [ItemPath]
    public string[] Path { get; set; } = [];

    /// <summary>Image files or URIs of NBD exports, taken as they are.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    [Alias("PSPath", "FullName")]
    public string[] LiteralPath { get; set; } = [];

    /// <summary>A parameter whose value suits one image only; null for none.</summary>
    private protected virtual string? ForOne => null;

    /// <inheritdoc/>
    protected sealed override void ProcessRecord()
    {
        bool isLiteral = ParameterSetName == LiteralPathSet;
        ForEachFile(isLiteral ? LiteralPath : Path, isLiteral, Process, takesUris: true, ForOne);
    }

    /// <summary>Does the cmdlet's work for an image, by its full path or its URI.</summary>
    private protected abstract void Process(string address);
}
