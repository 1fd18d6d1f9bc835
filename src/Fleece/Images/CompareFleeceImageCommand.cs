// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Offline;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece;

/// <summary>Compare-FleeceImage: tells whether two images hold the same bytes.</summary>
[Cmdlet(VerbsData.Compare, "FleeceImage")]
[OutputType(typeof(ImageComparison))]
public sealed class CompareFleeceImageCommand : NetworkCommand
{

    /// <summary>The one image, or an NBD URI.</summary>
    [Parameter(Mandatory = true, Position = 0, ValueFromPipelineByPropertyName = true)]
    [Alias("PSPath", "FullName", "LiteralPath")]
    public string Path { get; set; } = string.Empty;

    /// <summary>The other image, or an NBD URI.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    public string DifferencePath { get; set; } = string.Empty;

    /// <summary>The format of the one, where the content must not decide it.</summary>
    [Parameter(ValueFromPipelineByPropertyName = true)]
    public ImageFormat? Format { get; set; }

    /// <summary>The format of the other, where the content must not decide it.</summary>
    [Parameter]
    public ImageFormat? DifferenceFormat { get; set; }

    /// <summary>Use a data file that lies outside the folder of the image that names it.</summary>
    [Parameter]
    public SwitchParameter AllowOutsideDataFile { get; set; }

    /// <summary>Treat both images as from a stranger: refuse files that they name outside their folder, and bound sizes and time.</summary>
    [Parameter]
    public SwitchParameter Untrusted { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord() => ForItem(Path, () =>
    {
        ImageSource first = Open(Path, nameof(Format), Format);
        ImageSource other = OpenOther(first);
        ImageComparer comparer = new(first, other);
        try
        {
            TellWarning(first.TakeWarning());
            TellWarning(other.TakeWarning());
            ByteProgress progress = new(this, $"Comparing {first.Id}", comparer.SizeBytes);
            while (Wait(comparer.StepAsync(StopToken)))
            {
                progress.Report(comparer.ComparedBytes);
            }

            progress.Complete();
            WriteObject(comparer.Result);
        }
        finally
        {
            Wait(comparer.DisposeAsync());
        }
    });

    private ImageSource OpenOther(ImageSource first)
    {
        try
        {
            return Open(DifferencePath, nameof(DifferenceFormat), DifferenceFormat);
        }
        catch
        {
            Wait(first.DisposeAsync());
            throw;
        }
    }

    private ImageSource Open(string address, string parameter, ImageFormat? format)
    {
        string resolved = ResolveAddress(address);
        ImageOpenOptions options = new()
        {
            Format = format,
            Parameters = ImageParameters.Default with { Format = $"-{parameter}" },
            AllowsOutsideDataFile = AllowOutsideDataFile,
            Untrusted = Untrusted ? UntrustedLimits.Default : null,
        };
        ImageSource source = Wait(ImageSource.OpenAsync(resolved, options, NbdUri.IsUri(resolved) ? ClientTls : null, StopToken));
        TellRawByName(resolved, parameter, format, source.Format);
        return source;
    }
}
