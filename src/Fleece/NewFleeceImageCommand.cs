// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Images;

namespace Fleece;

/// <summary>New-FleeceImage: creates an image file.</summary>
[Cmdlet(VerbsCommon.New, "FleeceImage", SupportsShouldProcess = true)]
[OutputType(typeof(ImageInfo))]
public sealed class NewFleeceImageCommand : FleeceCommand
{
    /// <summary>The file to make; it must not exist.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipelineByPropertyName = true)]
    public string Path { get; set; } = string.Empty;

    /// <summary>Size of the disk in bytes, a multiple of 512.</summary>
    [Parameter(Mandatory = true, Position = 1, ValueFromPipelineByPropertyName = true)]
    public long SizeBytes { get; set; }

    /// <summary>The format; by default the file's extension decides, and raw where it says nothing.</summary>
    [Parameter]
    public ImageFormat? Format { get; set; }

    /// <summary>Allocation unit in bytes; for qcow2 the cluster size, 512 B to 2 MiB.</summary>
    [Parameter]
    [Alias("ClusterSizeBytes")]
    public int? BlockSizeBytes { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Path, () =>
    {
        string file = ResolveLiteral(Path);
        ImageFormat format = Format ?? Image.FormatForNewFile(file);
        if (ShouldProcess(file, $"Create a {format} image of {SizeBytes} bytes"))
        {
            Wait(Image.CreateAsync(
                file,
                new ImageCreateOptions { Format = format, SizeBytes = SizeBytes, BlockSizeBytes = BlockSizeBytes },
                StopToken));
            WriteObject(Wait(Image.GetInfoAsync(file, format, StopToken)));
        }
    });
}
