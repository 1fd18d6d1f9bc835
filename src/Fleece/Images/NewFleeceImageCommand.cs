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

    /// <summary>Size of the disk in bytes, a multiple of 512; by default the parent's.</summary>
    [Parameter(Position = 1, ValueFromPipelineByPropertyName = true)]
    [ValidateMultiple(512)]
    public long? SizeBytes { get; set; }

    /// <summary>The format; by default the file's extension decides, and raw where it says nothing.</summary>
    [Parameter]
    [ValidateSet(nameof(ImageFormat.Raw), nameof(ImageFormat.Qcow2), nameof(ImageFormat.Vhd), nameof(ImageFormat.Vhdx))]
    public ImageFormat? Format { get; set; }

    /// <summary>The image that is read where the new one stores nothing.</summary>
    [Parameter]
    [NoScriptBlock]
    public string? ParentPath { get; set; }

    /// <summary>The parent's format, where its content must not decide it.</summary>
    [Parameter]
    public ImageFormat? ParentFormat { get; set; }

    /// <summary>Allocation unit in bytes: qcow2's cluster, the block of VHD and VHDX.</summary>
    [Parameter]
    [Alias("ClusterSizeBytes")]
    [ValidatePowerOfTwo(512, 256 * 1024 * 1024)]
    [ArgumentCompleter(typeof(PowerOfTwoCompleter))]
    public int? BlockSizeBytes { get; set; }

    /// <summary>Logical sector size of a VHDX, 512 or 4096.</summary>
    [Parameter]
    [ValidateSet("512", "4096")]
    public int? LogicalSectorSizeBytes { get; set; }

    /// <summary>Give every byte its place in the file at once; VHD and VHDX.</summary>
    [Parameter]
    public SwitchParameter Fixed { get; set; }

    /// <summary>What compressed clusters of a qcow2 image are compressed with.</summary>
    [Parameter]
    public ImageCompression Compression { get; set; }

    /// <summary>Bits of a refcount of a qcow2 image, a power of two from 1 to 64.</summary>
    [Parameter]
    [ValidateSet("1", "2", "4", "8", "16", "32", "64")]
    public int? RefcountBits { get; set; }

    /// <summary>Allocate the clusters of a qcow2 image in 32 parts.</summary>
    [Parameter]
    public SwitchParameter Subclusters { get; set; }

    /// <summary>A raw file of its own for the data of a qcow2 image.</summary>
    [Parameter]
    [NoScriptBlock]
    public string? DataFilePath { get; set; }

    /// <summary>Use data files of the parents that lie outside the folder of the image that names them, and do not warn of the new
    /// image's.</summary>
    [Parameter]
    public SwitchParameter AllowOutsideDataFile { get; set; }

    /// <summary>The version of a qcow2 image, 2 or 3.</summary>
    [Parameter]
    [ValidateSet("2", "3")]
    public int? FormatVersion { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Path, () =>
    {
        string file = ResolveLiteral(Path);
        ImageCreateOptions options = new()
        {
            Format = FormatOf(file, Format),
            SizeBytes = SizeBytes,
            ParentPath = ParentPath is null ? null : ResolveLiteral(ParentPath),
            ParentFormat = ParentFormat,
            BlockSizeBytes = BlockSizeBytes,
            LogicalSectorSizeBytes = LogicalSectorSizeBytes,
            IsFixed = Fixed,
            Compression = Compression,
            RefcountBits = RefcountBits,
            HasSubclusters = Subclusters,
            DataFilePath = DataFilePath is null ? null : ResolveLiteral(DataFilePath),
            Version = FormatVersion,
            AllowsOutsideDataFile = AllowOutsideDataFile,
        };
        if (ShouldProcess(file, What(options)))
        {
            Wait(Image.CreateAsync(file, options, StopToken));
            ImageInfo info = Wait(Image.GetInfoAsync(file, options.Format, StopToken));
            TellRawByName(info.ParentPath, nameof(ParentFormat), ParentFormat, info.ParentFormat);
            if (options is { DataFilePath: { } dataPath, AllowsOutsideDataFile: false } && !Image.IsInFolderOf(file, dataPath))
            {
                WriteWarning(
                    $"The data file '{dataPath}' lies outside the folder of '{file}', so mounting the image needs -AllowOutsideDataFile.");
            }

            WriteObject(info);
        }
    });

    private static string What(ImageCreateOptions options) => options.SizeBytes is { } sizeBytes
        ? $"Create a {options.Format} image of {sizeBytes} bytes"
        : $"Create a {options.Format} image over '{options.ParentPath}'";
}
