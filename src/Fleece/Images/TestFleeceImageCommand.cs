// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Disks.Storage;
using Fleece.Images;
using Fleece.Images.Checking;
using Fleece.Nbd;

namespace Fleece;

/// <summary>Test-FleeceImage: examines the metadata of images, and repairs it.</summary>
[Cmdlet(VerbsDiagnostic.Test, "FleeceImage", DefaultParameterSetName = PathSet, SupportsShouldProcess = true)]
[OutputType(typeof(ImageReport))]
public sealed class TestFleeceImageCommand : ImageCommand
{
    /// <summary>The format, where the content must not decide it; for an export it is needed.</summary>
    [Parameter(ValueFromPipelineByPropertyName = true)]
    public ImageFormat? Format { get; set; }

    /// <summary>What may be changed: nothing, leaks, or all that is wrong.</summary>
    [Parameter]
    public ImageRepair Repair { get; set; }

    /// <summary>Treat the images as from a stranger: bound the size that they may claim and the time that the check takes.</summary>
    [Parameter]
    public SwitchParameter Untrusted { get; set; }

    /// <summary>Repair without asking.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    /// <remarks>Refusing the repair leaves the check, which changes nothing.</remarks>
    private protected override void Process(string path)
    {
        ImageReport report = Check(path, ImageRepair.None);
        bool hasWork = Repair switch
        {
            ImageRepair.None => false,
            ImageRepair.Leaks => report.LeakCount != 0,
            _ => !report.IsClean,
        };
        if (hasWork && ShouldProcess(path, $"Repair ({Repair})") &&
            (Force || Confirms($"{Name(path)} has {report.LeakCount} leaks and {report.CorruptionCount} corruptions. The repair changes " +
                "its metadata; data that damaged metadata leads to can be lost.")))
        {
            report = Check(path, Repair);
        }

        TellRawByName(path, nameof(Format), Format, report.Format);
        WriteObject(report);
    }

    private static string Name(string path) =>
        !NbdUri.IsUri(path) && OwnedFiles.Describe(path) is { } owner ? $"'{path}', which {owner}," : $"'{path}'";

    private ImageReport Check(string path, ImageRepair repair)
    {
        UntrustedLimits? limits = Untrusted ? UntrustedLimits.Default : null;
        if (!NbdUri.IsUri(path))
        {
            return Wait(Image.CheckAsync(path, Format, repair, StopToken, limits));
        }

        return Format switch
        {
            null => throw new BlockException(
                ImageErrors.AmbiguousFormat,
                $"Nothing says which image lies on '{path}', and Fleece does not guess it, because the guest of a raw disk can write any " +
                $"header. Name the format with -{nameof(Format)}; a raw disk has no metadata that could be checked.",
                path),
            ImageFormat.Raw => throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{path}' is named as a raw disk, which has no metadata that could be checked. If an image lies there, name its format " +
                $"with -{nameof(Format)}.",
                path),
            { } format => Wait(ExportImages.CheckAsync(NbdUri.Parse(path), format, repair, ClientTls, limits, StopToken)),
        };
    }
}
