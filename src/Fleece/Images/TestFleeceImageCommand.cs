// SPDX-License-Identifier: MIT
using System.Management.Automation;
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

    /// <summary>What may be changed: nothing, leaks, or all that is wrong.</summary>
    [Parameter]
    public ImageRepair Repair { get; set; }

    /// <summary>Treat the images as from a stranger: bound the size that they may claim and the time that the check takes.</summary>
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
                    ForItem(file, () => Test(file));
                }
            });
        }
    }

    // Refusing the repair leaves the check, which changes nothing.
    private void Test(string file)
    {
        ImageRepair repair = Repair != ImageRepair.None && ShouldProcess(file, $"Repair ({Repair})") ? Repair : ImageRepair.None;
        ImageReport report = Wait(Image.CheckAsync(file, Format, repair, StopToken, Untrusted ? UntrustedLimits.Default : null));
        TellRawByName(file, nameof(Format), Format, report.Format);
        WriteObject(report);
    }
}
