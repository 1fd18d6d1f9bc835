// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Repositories;
using Fleece.Images;
using Fleece.Images.Checking;

namespace Fleece;

/// <summary>Test-FleeceImage: examines the metadata of image files, and repairs it.</summary>
[Cmdlet(VerbsDiagnostic.Test, "FleeceImage", DefaultParameterSetName = PathSet, SupportsShouldProcess = true)]
[OutputType(typeof(ImageReport))]
public sealed class TestFleeceImageCommand : FleeceCommand
{
    private const string PathSet = "Path";
    private const string LiteralPathSet = "LiteralPath";

    /// <summary>The files; wildcards are expanded.</summary>
    [Parameter(
        Mandatory = true, Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true, ParameterSetName = PathSet)]
    [SupportsWildcards]
    [ItemPath]
    public string[] Path { get; set; } = [];

    /// <summary>The files, taken as they are.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    [Alias("PSPath", "FullName")]
    public string[] LiteralPath { get; set; } = [];

    /// <summary>The format, where the content must not decide it.</summary>
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
    protected override void ProcessRecord()
    {
        bool isLiteral = ParameterSetName == LiteralPathSet;
        ForEachFile(isLiteral ? LiteralPath : Path, isLiteral, Check);
    }

    // Refusing the repair leaves the check, which changes nothing.
    private void Check(string path)
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

    private static string Name(string path) => OwnedFiles.Describe(path) is { } owner ? $"'{path}', which {owner}," : $"'{path}'";

    private ImageReport Check(string path, ImageRepair repair) =>
        Wait(Image.CheckAsync(path, Format, repair, StopToken, Untrusted ? UntrustedLimits.Default : null));
}
