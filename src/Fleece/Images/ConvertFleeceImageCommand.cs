// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Offline;
using Fleece.Backups.Writing;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece;

/// <summary>Convert-FleeceImage: copies an image, with what its parents hold, into a new image.</summary>
[Cmdlet(VerbsData.Convert, "FleeceImage", DefaultParameterSetName = PathSet, SupportsShouldProcess = true)]
[OutputType(typeof(ImageInfo))]
public sealed class ConvertFleeceImageCommand : ImageCommand
{
    /// <summary>The new image's file; it appears when it is complete.</summary>
    [Parameter(Mandatory = true, Position = 1, ValueFromPipelineByPropertyName = true)]
    public string DestinationPath { get; set; } = string.Empty;

    /// <summary>The new image's format; by default the file's extension decides, and raw where it says nothing.</summary>
    [Parameter]
    [ValidateSet(nameof(ImageFormat.Raw), nameof(ImageFormat.Qcow2), nameof(ImageFormat.Vhd), nameof(ImageFormat.Vhdx))]
    public ImageFormat? Format { get; set; }

    /// <summary>The format of the image to copy, where the content must not decide it; a piped image brings its own.</summary>
    [Parameter(ValueFromPipelineByPropertyName = true)]
    public ImageFormat? SourceFormat { get; set; }

    /// <summary>The internal snapshot to copy, by name or id.</summary>
    [Parameter]
    public string? SnapshotName { get; set; }

    /// <summary>What the clusters of a new qcow2 image are compressed with.</summary>
    [Parameter]
    public ImageCompression Compression { get; set; }

    /// <summary>The new image's allocation unit in bytes.</summary>
    [Parameter]
    [Alias("ClusterSizeBytes")]
    [ValidatePowerOfTwo(512, 256 * 1024 * 1024)]
    [ArgumentCompleter(typeof(PowerOfTwoCompleter))]
    public int? BlockSizeBytes { get; set; }

    /// <summary>Logical sector size of a new VHDX, 512 or 4096.</summary>
    [Parameter]
    [ValidateSet("512", "4096")]
    public int? LogicalSectorSizeBytes { get; set; }

    /// <summary>Give every byte of a new VHD or VHDX its place in the file.</summary>
    [Parameter]
    public SwitchParameter Fixed { get; set; }

    /// <summary>Replace an existing file.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <summary>Use a data file that lies outside the folder of the image that names it.</summary>
    [Parameter]
    public SwitchParameter AllowOutsideDataFile { get; set; }

    /// <summary>Treat the image as from a stranger: refuse files that it names outside its folder, and bound sizes and time.</summary>
    [Parameter]
    public SwitchParameter Untrusted { get; set; }

    private protected override string? ForOne => nameof(DestinationPath);

    /// <inheritdoc/>
    private protected override void Process(string address)
    {
        FileTargetOptions destination = Destination(ResolveLiteral(DestinationPath));
        TakeDestination(destination.Path);
        if (!ShouldProcess(address, $"Convert to {destination.Image!.Format} in '{destination.Path}'"))
        {
            return;
        }

        ImageOpenOptions opening = new()
        {
            Format = SourceFormat,
            Parameters = ImageParameters.Default with { Format = $"-{nameof(SourceFormat)}" },
            IsReadOnly = true,
            SnapshotName = SnapshotName,
            AllowsOutsideDataFile = AllowOutsideDataFile,
            Untrusted = Untrusted ? UntrustedLimits.Default : null,
        };
        ImageConversion conversion = Wait(ImageConversion.OpenAsync(
            address, opening, destination, NbdUri.IsUri(address) ? ClientTls : null, StopToken));
        try
        {
            TellRawByName(address, nameof(SourceFormat), SourceFormat, conversion.SourceFormat);
            TellWarning(conversion.TakeWarning());
            TellWarning(conversion.Note);
            ByteProgress progress = new(this, $"Converting {address}", conversion.SizeBytes);
            while (Wait(conversion.StepAsync(StopToken)))
            {
                progress.Report(conversion.ArrivedBytes);
            }

            Wait(conversion.CompleteAsync(StopToken));
            progress.Complete();
        }
        finally
        {
            Wait(conversion.DisposeAsync());
        }

        WriteObject(Wait(Image.GetInfoAsync(destination.Path, destination.Image.Format, StopToken)));
    }

    private FileTargetOptions Destination(string file) => new()
    {
        Path = file,
        Overwrite = Force,
        Image = new ImageCreateOptions
        {
            Format = FormatOf(file, Format),
            BlockSizeBytes = BlockSizeBytes,
            LogicalSectorSizeBytes = LogicalSectorSizeBytes,
            IsFixed = Fixed,
            Compression = Compression,
        },
    };
}
